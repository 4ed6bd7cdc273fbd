"""What a class has, whatever its metaclass answers when it is asked by attribute."""

from __future__ import annotations

from typing import Any

dict_of: Any = type.__dict__["__dict__"].__get__
mro_of: Any = type.__dict__["__mro__"].__get__
