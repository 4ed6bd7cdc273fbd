"""What a layer refused is told as that, what a tool raised of its own accord is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from elf_pysandbox import Files, Hint, Limits, Policy, SandboxPool

OWN = {
    "with a path": "def run(): raise PermissionError(13, 'Permission denied', '/my/remote/file')",
    "without one": "def run(): raise PermissionError(1, 'Operation not permitted')",
    "absent": "def run(): raise FileNotFoundError(2, 'No such object', '/my/remote/file')",
    "subclass": "class Closed(OSError): ...\ndef run(): raise Closed(30, 'read only', '/my/remote/file')",
    "memory": "def run(): raise MemoryError('the model needs more')",
    "no memory": "def run(): raise OSError(12, 'Cannot allocate memory')",
    "descriptors": "def run(): raise OSError(24, 'Too many open files')",
    "raised again": "def go(): raise PermissionError(1, 'no')\n"
    "def run():\n try: go()\n except OSError as error: raise error",
    "thread": "from concurrent.futures import ThreadPoolExecutor\n"
    "def go(): raise PermissionError(13, 'no')\n"
    "def run():\n with ThreadPoolExecutor() as threads: threads.submit(go).result()",
    "name": "import socket\ndef run(): raise socket.gaierror(-2, 'Name or service not known')",
    "service": "import socket\ndef run(): socket.getaddrinfo('127.0.0.1', 'no-such-service')",
    "no address": "import socket\n"
    "def run(): socket.getaddrinfo('example.com', 80, flags=socket.AI_NUMERICHOST)",
    "in answer to another": "def run():\n try: {}['k']\n except KeyError: raise PermissionError(13, 'no')",
}
REFUSED = {
    "write": "def run(): open('/etc/hostname', 'w')",
    "raised again": "def run():\n try: open('/etc/hostname', 'w')\n except OSError as error: raise error",
    "raised later": "def run():\n try: open('/etc/hostname', 'w')\n except OSError as error: kept = error\n raise kept",
    "told anew": "def run():\n try: open('/etc/hostname', 'w')\n"
    " except OSError as error: raise OSError(error.errno, 'cannot write', '/etc/hostname') from None",
    "folder": "import pathlib\ndef run(): pathlib.Path('/usr/new/one').mkdir(parents=True)",
    "touch": "import pathlib\ndef run(): pathlib.Path('/usr/new').touch()",
    "copy": "import shutil\ndef run(): shutil.copy('/usr/lib/os-release', '/usr/lib/copy')",
    "temporary": "import tempfile\ndef run(): tempfile.NamedTemporaryFile(dir='/usr')",
    "socket": "import socket\ndef run(): socket.create_connection(('192.0.2.1', 80))",
    "stream": "import asyncio\nasync def run(): await asyncio.open_connection('192.0.2.1', 80)",
    "name": "import socket\ndef run(): socket.gethostbyname('example.com')",
    "name of a stream": "import asyncio\nasync def run(): await asyncio.open_connection('example.com', 80)",
    "fork": "import os\ndef run(): os.fork()",
    "program": "import subprocess\ndef run(): subprocess.run(['true'])",
    "process": "import multiprocessing\ndef run(): multiprocessing.Process(target=print).start()",
    "signal": "import os\ndef run(): os.kill(1, 0)",
}


@pytest.mark.parametrize("source", OWN.values(), ids=OWN)
def test_an_error_of_the_tools_own_making_is_raised_and_no_layer_is_said_to_have_refused(
    native_pool: SandboxPool, source: str
) -> None:
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert (outcome.status, outcome.error.hints) == ("raised", ())
    assert (outcome.error.info.hints, outcome.error.info.notes) == ((), ())
    assert "layer" not in str(outcome.error)


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_what_the_kernel_refused_is_denied_with_its_explanation_whoever_raised_it(
    native_pool: SandboxPool, source: str
) -> None:
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert outcome.status == "denied"
    assert "layer " in str(outcome.error) or "may be read only" in str(outcome.error)


def test_what_a_program_could_not_be_started_for_is_denied_though_the_library_says_so(
    native_pool: SandboxPool,
) -> None:
    pool = native_pool.with_options(limits=Limits(processes=4))
    outcome = pool.outcome(
        pool.load_source("import subprocess\ndef run(): subprocess.run(['/bin/true'])", "run")
    )
    assert outcome.status == "denied"


@pytest.mark.parametrize(
    "source",
    [
        "def run(): bytearray(1 << 45)",
        "def run():\n try: bytearray(1 << 45)\n except MemoryError: raise MemoryError('the table is too large')",
        "import numpy\ndef run(): numpy.ones(1 << 42)",
    ],
    ids=["interpreter", "told anew", "numpy"],
)
def test_memory_that_there_was_not_is_a_memory_limit(native_pool: SandboxPool, source: str) -> None:
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert (outcome.status, outcome.error.hints) == ("memory_limit", (Hint("memory_mb"),))


@pytest.mark.parametrize(
    "attribute",
    [
        "__class__ = property(lambda self: bytearray(1 << 45))",
        "__module__ = type('', (), {'__str__': lambda self: bytearray(1 << 45)})()",
    ],
    ids=["class", "module"],
)
def test_an_exception_whose_class_answers_with_a_memory_error_is_raised_by_its_name(
    native_pool: SandboxPool, attribute: str
) -> None:
    source = f"class Odd(Exception):\n    {attribute}\ndef run():\n    raise Odd('x')"
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert outcome.status == "raised"
    assert "Odd" in str(outcome.error)


def test_a_module_that_raises_an_error_of_its_own_does_not_load_and_nobody_denied_it(
    native_pool: SandboxPool,
) -> None:
    outcome = native_pool.outcome(native_pool.load_source("raise PermissionError(13, 'no licence')", "run"))
    assert outcome.status == "load_failed"


_WRAPPED = {
    "name": "import urllib.request\ndef run(): urllib.request.urlopen('http://example.com')",
    "address": "import urllib.request\ndef run(): urllib.request.urlopen('http://192.0.2.1')",
    "cause": "import socket\ndef run():\n try: socket.gethostbyname('example.com')\n"
    " except OSError as error: raise RuntimeError('the service is down') from error",
    "text": "import socket\ndef run():\n try: socket.gethostbyname('example.com')\n"
    " except OSError as error: raise RuntimeError(f'the service is down: {error}') from None",
}


@pytest.mark.parametrize("source", _WRAPPED.values(), ids=_WRAPPED)
def test_an_error_that_tells_of_a_refused_network_says_in_a_note_that_there_is_none(
    native_pool: SandboxPool, source: str
) -> None:
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert outcome.status == "raised"
    assert "tools have no network" in outcome.error.info.notes[0]
    assert "tools have no network" in outcome.error.info.format()


def test_an_error_that_only_comes_after_a_refused_network_has_no_such_note(native_pool: SandboxPool) -> None:
    source = "import socket\ndef run():\n try: socket.gethostbyname('example.com')\n except OSError: 1 / 0"
    outcome = native_pool.outcome(native_pool.load_source(source, "run"))
    assert (outcome.error.info.type, outcome.error.info.notes) == ("ZeroDivisionError", ())


def test_a_link_that_leads_out_of_a_granted_folder_is_told_with_where_it_leads(
    native_pool: SandboxPool, tmp_path: Path
) -> None:
    secret, data = tmp_path / "secret.txt", tmp_path / "data"
    secret.write_text("here")
    data.mkdir()
    (data / "out").symlink_to(secret)
    (data / "broken").symlink_to(data / "nothing")
    view = native_pool.with_options(policy=Policy(profile="native", files=Files(read=(str(data),))))
    read = view.load_source("def run(path): return open(path).read()", "run")
    outcome = view.outcome(read, str(data / "out"))
    assert f"leads by a link to {secret}, which is not granted" in "".join(outcome.error.info.notes)
    assert outcome.error.hints == (Hint("read", str(secret)),)
    for absent in ("broken", "missing"):
        assert view.outcome(read, str(data / absent)).error.hints == ()
    both = native_pool.with_options(
        policy=Policy(profile="native", files=Files(read=(str(data), str(secret))))
    )
    assert both.call(read, str(data / "out")) == "here"
