"""Kinds of values without parts: to the payload of an ext item and back.

Decided here and nowhere else: how a number, moment or name that MessagePack does not have is written.
A `dump_*` raises `Refused` with the reason a tool's author needs; a `load_*` takes hostile bytes and returns
a value or raises `WireError`, `ValueError`, `OverflowError` or another plain exception (the one door in
`reader` renames them), in time linear in their length.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import struct
import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from elf_pysandbox_worker.wire import tags
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.tags import encode

if TYPE_CHECKING:
    import fractions
    import pathlib
    import zoneinfo


class Refused(Exception):  # noqa: N818 - caught next door, where the path is known
    """The value is of a supported type but cannot cross; arguments: reason, hint."""


_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_DATETIME: Final = struct.Struct("<HBBBBBIB")
_DATE: Final = struct.Struct("<HBB")
_TIME: Final = struct.Struct("<BBBIB")
_TIMEDELTA: Final = struct.Struct("<iII")
_COMPLEX: Final = struct.Struct("<dd")
# Names of the time zone database: parts of letters, digits, +, - and _; nothing that climbs out of it.
_IN_ZONES: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")
_decode_zone: Final = msgspec.msgpack.Decoder(int | str | list[int | str]).decode
_PATHS: Final = ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")


# -- numbers and text ----------------------------------------------------------------------------------------


def dump_bigint(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def load_bigint(data: memoryview) -> int:
    value = int.from_bytes(data, "little", signed=True)
    if -(1 << 63) <= value < 1 << 64 or (data[-1] in (0, 255) and _shorter(data)):
        raise WireError("big int that is not written in its one form")
    return value


def _shorter(data: memoryview) -> bool:
    """Whether the last byte repeats only the sign of the one before."""
    return data[-1] == (255 if data[-2] & 128 else 0)


def dump_text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def load_text(data: memoryview) -> str:
    return str(data, "utf-8", "surrogatepass")


def dump_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def load_complex(data: memoryview) -> complex:
    return complex(*_COMPLEX.unpack(data))


def dump_decimal(value: decimal.Decimal) -> bytes:
    text = str(value)
    if len(text) > tags.MAX_DIGITS:
        raise Refused(f"is a Decimal of more than {tags.MAX_DIGITS} digits", "round it")
    if value.is_finite() and abs(value.adjusted()) > tags.MAX_EXPONENT:
        raise Refused(f"is a Decimal with an exponent beyond {tags.MAX_EXPONENT}", "return it as str")
    return text.encode()


def load_decimal(data: memoryview) -> decimal.Decimal:
    if len(data) > tags.MAX_DIGITS:
        raise WireError("Decimal of too many digits")
    text = str(data, "ascii")
    value = decimal.Decimal(text)
    # Decimal() takes more spellings than it writes, and with traps off makes NaN of nonsense.
    if str(value) != text or (value.is_finite() and abs(value.adjusted()) > tags.MAX_EXPONENT):
        raise WireError("Decimal that is not written in its one form")
    return value


def dump_fraction(value: fractions.Fraction) -> bytes:
    top, bottom = value.numerator, value.denominator
    if max(top.bit_length(), bottom.bit_length()) > tags.MAX_FRACTION_BITS:
        raise Refused(f"is a Fraction of more than {tags.MAX_FRACTION_BITS} bits", "limit its denominator")
    first = dump_bigint(top)
    return len(first).to_bytes(2, "little") + first + dump_bigint(bottom)


def load_fraction(data: memoryview) -> fractions.Fraction:
    import fractions

    size = int.from_bytes(data[:2], "little")
    top = int.from_bytes(data[2 : 2 + size], "little", signed=True)
    bottom = int.from_bytes(data[2 + size :], "little", signed=True)
    if max(top.bit_length(), bottom.bit_length()) > tags.MAX_FRACTION_BITS or bottom < 1:
        raise WireError("Fraction out of bounds")
    value = fractions.Fraction(top, bottom)
    if value.denominator != bottom:
        raise WireError("Fraction that is not in lowest terms")
    return value


def dump_uuid(value: uuid.UUID) -> bytes:
    return value.bytes


def load_uuid(data: memoryview) -> uuid.UUID:
    return uuid.UUID(bytes=bytes(data))


def dump_path(value: pathlib.PurePath) -> bytes:
    return bytes((_PATHS.index(type(value).__name__),)) + str(value).encode("utf-8", "surrogatepass")


def load_path(data: memoryview) -> pathlib.PurePath:
    import pathlib

    text = str(data[1:], "utf-8", "surrogatepass")
    path: pathlib.PurePath = getattr(pathlib, _PATHS[data[0]])(text)
    if str(path) != text:
        raise WireError("path that is not written in its one form")
    return path


def dump_ellipsis(value: object) -> bytes:
    return b"."


def load_ellipsis(data: memoryview) -> Any:
    if bytes(data) != b".":
        raise WireError("no Ellipsis")
    return ...


# -- moments -------------------------------------------------------------------------------------------------


def _dump_zone(zone: datetime.tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if type(zone) is datetime.timezone:
        # The arguments it was made of, as pickle would read them: offset and, if given, name.
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        micros = offset // _MICROSECOND
        return encode([micros, *name] if name else micros)
    zones: Any = sys.modules.get("zoneinfo")
    if zones is not None and type(zone) is zones.ZoneInfo and (key := getattr(zone, "key", None)) is not None:
        return _dump_named_zone(key)
    if type(zone) is getattr(sys.modules.get("pydantic_core"), "TzInfo", None):
        # What pydantic reads "…Z" and "…+02:00" as: a fixed offset.
        fixed: Any = zone.utcoffset(None)
        return encode(fixed // _MICROSECOND)
    kind = f"{type(zone).__module__}.{type(zone).__qualname__}"
    raise Refused(f"has a time zone of type {kind}", "use zoneinfo.ZoneInfo or a fixed offset")


@functools.lru_cache(64)
def _dump_named_zone(key: str) -> bytes:
    if not _is_zone_name(key):  # of a file of the tool's own (`ZoneInfo.from_file`)
        raise Refused(
            f"has a time zone of the tool's own, {key[:40]!r}", "use one of the database by its name"
        )
    return encode(key)


def _load_zone(data: memoryview) -> datetime.tzinfo | None:
    if not data:
        return None
    spec = _decode_zone(data)
    if type(spec) is str:
        return _load_named_zone(spec)
    offset, *name = spec if type(spec) is list else [spec]
    if type(offset) is not int or len(name) > 1 or not all(type(part) is str for part in name):
        raise WireError("no time zone")
    return datetime.timezone(datetime.timedelta(microseconds=offset), *name)


def _is_zone_name(key: str) -> bool:
    parts = key.split("/")
    return len(parts) <= 4 and all(0 < len(part) <= 32 and _IN_ZONES.issuperset(part) for part in parts)


def _load_named_zone(key: str) -> zoneinfo.ZoneInfo:
    import zoneinfo

    if not _is_zone_name(key):
        raise WireError("no name of a time zone")
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        raise WireError(f"time zone {key!r} is not known here (pip install tzdata)") from None


def dump_datetime(value: datetime.datetime) -> bytes:
    clock = value.hour, value.minute, value.second, value.microsecond, value.fold
    return _DATETIME.pack(value.year, value.month, value.day, *clock) + _dump_zone(value.tzinfo)


def load_datetime(data: memoryview) -> datetime.datetime:
    *parts, fold = _DATETIME.unpack(data[: _DATETIME.size])
    zone = _load_zone(data[_DATETIME.size :])
    return datetime.datetime(*parts, zone, fold=fold)  # type: ignore[misc, arg-type]


def dump_date(value: datetime.date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def load_date(data: memoryview) -> datetime.date:
    return datetime.date(*_DATE.unpack(data))


def dump_time(value: datetime.time) -> bytes:
    clock = value.hour, value.minute, value.second, value.microsecond, value.fold
    return _TIME.pack(*clock) + _dump_zone(value.tzinfo)


def load_time(data: memoryview) -> datetime.time:
    *parts, fold = _TIME.unpack(data[: _TIME.size])
    zone = _load_zone(data[_TIME.size :])
    return datetime.time(*parts, zone, fold=fold)  # type: ignore[misc, arg-type]


def dump_timedelta(value: datetime.timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def load_timedelta(data: memoryview) -> datetime.timedelta:
    return datetime.timedelta(*_TIMEDELTA.unpack(data))


def dump_zone(value: datetime.tzinfo) -> bytes:
    return _dump_zone(value)


def load_zone(data: memoryview) -> datetime.tzinfo:
    zone = _load_zone(data)
    if zone is None:
        raise WireError("no time zone")
    return zone


DUMP: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    complex: (tags.COMPLEX, dump_complex),
    type(...): (tags.ELLIPSIS, dump_ellipsis),
    datetime.datetime: (tags.DATETIME, dump_datetime),
    datetime.date: (tags.DATE, dump_date),
    datetime.time: (tags.TIME, dump_time),
    datetime.timedelta: (tags.TIMEDELTA, dump_timedelta),
    datetime.timezone: (tags.TIMEZONE, dump_zone),
    decimal.Decimal: (tags.DECIMAL, dump_decimal),
    uuid.UUID: (tags.UUID, dump_uuid),
}
"""Exact type -> ext code and writer. `find_lazy` adds the types of modules that are not loaded yet."""

_LAZY: Final[dict[str, tuple[str, int, Callable[[Any], bytes]]]] = {
    "Fraction": ("fractions", tags.FRACTION, dump_fraction),
    "ZoneInfo": ("zoneinfo", tags.TIMEZONE, dump_zone),
    **dict.fromkeys(_PATHS, ("pathlib", tags.PATH, dump_path)),
}

LOAD: Final[dict[int, Callable[[memoryview], Any]]] = {
    tags.BIGINT: load_bigint,
    tags.TEXT: load_text,
    tags.BYTES: bytes,
    tags.BYTEARRAY: bytearray,
    tags.COMPLEX: load_complex,
    tags.ELLIPSIS: load_ellipsis,
    tags.DATETIME: load_datetime,
    tags.DATE: load_date,
    tags.TIME: load_time,
    tags.TIMEDELTA: load_timedelta,
    tags.TIMEZONE: load_zone,
    tags.DECIMAL: load_decimal,
    tags.FRACTION: load_fraction,
    tags.UUID: load_uuid,
    tags.PATH: load_path,
}


def find_lazy(kind: type) -> tuple[int, Callable[[Any], bytes]] | None:
    """Return the writer of a type whose module this one does not import, and remember it in `DUMP`.

    The module is in `sys.modules`, since there is an instance; only its very own class counts.
    """
    module, code, dump = _LAZY.get(kind.__name__, ("", 0, dump_ellipsis))
    if not module or getattr(sys.modules.get(module), kind.__name__, None) is not kind:
        return None
    return DUMP.setdefault(kind, (code, dump))
