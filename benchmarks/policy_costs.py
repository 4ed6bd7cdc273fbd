"""What the language policy costs: kernels as plain CPython, under the policy, and under its peers, in one run.

    python benchmarks/policy_costs.py [--repeat N] [--json]

Peers that are not installed are left out by name: `pip install smolagents pydantic-monty`. Every implementation
runs the same source. Plain Python, the policy and RestrictedPython's stock guards alternate in this process, and
each figure is the best of its repeats in CPU time, so that a busy machine does not count; smolagents interprets in
this process, monty in its own worker (wall time, that of an empty feed subtracted).
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

KERNELS = {
    "attributes": '''
class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y

def kernel(n):
    p = Point(1, 2)
    total = 0
    for i in range(n):
        p.x = p.x + p.y
        total = total + p.x
    return total
''',
    "subscripts": '''
def kernel(n):
    rows = [0, 1, 2, 3, 4, 5, 6, 7]
    for i in range(n):
        rows[i % 8] = rows[(i + 3) % 8] + 1
    return sum(rows)
''',
    "calls": '''
def add(a, b):
    return a + b

def kernel(n):
    total = 0
    for i in range(n):
        total = add(total, i)
    return total
''',
    "comprehension": '''
def kernel(n):
    return sum([x * x for x in range(n) if x % 3])
''',
    "strings": '''
def kernel(n):
    parts = []
    for i in range(n):
        parts.append("{:>6d}|{}".format(i, i % 7).strip().upper() + f"{i:04d}")
    return len("".join(parts))
''',
    "dicts": '''
def kernel(n):
    counts = {}
    for i in range(n):
        key = i % 101
        counts[key] = counts.get(key, 0) + 1
    return sum([value for key, value in counts.items()])
''',
    "classes": '''
class Shape:
    def area(self):
        return 0

class Square(Shape):
    def __init__(self, side):
        self.side = side
    def area(self):
        return self.side * self.side

def kernel(n):
    total = 0
    for i in range(n):
        total = total + Square(i).area()
    return total
''',
    "generators": '''
def numbers(n):
    for i in range(n):
        yield i * 2

def kernel(n):
    total = 0
    for value in numbers(n):
        total = total + value
    return total
''',
    "json": '''
import json

def kernel(n):
    row = {"a": 1, "b": [1, 2, 3], "c": "text"}
    total = 0
    for i in range(n):
        total = total + len(json.loads(json.dumps(row))["b"])
    return total
''',
    "sort with key": '''
def kernel(n):
    rows = [(i * 7919 % 1009, i) for i in range(n)]
    rows.sort(key=lambda row: row[0])
    return rows[0][0]
''',
    # Not one of the ten: the one guard that honest code meets often.
    "a variable's format": '''
def kernel(n):
    templates = ["{:>6d}|{}", "{}-{}"]
    total = 0
    for i in range(n):
        total = total + len(templates[i % 2].format(i, i % 7))
    return total
''',
}  # fmt: skip
TEN = list(KERNELS)[:10]
TARGET_S = 0.02

Kernel = Callable[[int], Any]


def plain(source: str) -> Kernel:
    space: dict[str, Any] = {"__name__": "kernel"}
    exec(compile(source, "<plain>", "exec"), space)
    return space["kernel"]


def policy(source: str) -> Kernel:
    from elf_pysandbox_worker.restricted.importer import Importer
    from elf_pysandbox_worker.wire.messages import Bundle, SourceFile

    bundle = Bundle("kernel", [SourceFile("kernel", "<policy>", source.encode())])
    return vars(Importer(bundle, ()).load("kernel"))["kernel"]


def stock(source: str) -> Kernel:
    """RestrictedPython with the guards that it ships."""
    from RestrictedPython import Eval, Guards, compile_restricted, safe_builtins

    operators = {"+=": lambda a, b: a + b}
    space: dict[str, Any] = {
        "__builtins__": {**safe_builtins, "sum": sum, "__import__": __import__},
        "__name__": "kernel",
        "__metaclass__": type,
        "_getattr_": Guards.safer_getattr,
        "_getitem_": Eval.default_guarded_getitem,
        "_getiter_": Eval.default_guarded_getiter,
        "_iter_unpack_sequence_": Guards.guarded_iter_unpack_sequence,
        "_unpack_sequence_": Guards.guarded_unpack_sequence,
        # What a class made by the tool needs to be written to, with the write guard that it ships.
        "_write_": lambda obj: obj if isinstance(obj, (list, dict)) else Guards.full_write_guard(obj),
        "_inplacevar_": lambda op, a, b: operators[op](a, b),
    }
    # Stock str.format is refused altogether, and instances need a mark to be written to.
    source = source.replace('"{:>6d}|{}".format(i, i % 7)', '("%6d|%s" % (i, i % 7))')
    source = source.replace(', "{}-{}"]', ', "%s-%s"]').replace("{:>6d}|{}", "%6d|%s")
    source = source.replace(".format(i, i % 7)", " % (i, i % 7)")
    source = source.replace("class Point:", "class Point:\n    _guarded_writes = 1".replace("_g", "g"))
    exec(compile_restricted(source, "<stock>", "exec"), space)
    for value in list(space.values()):
        if isinstance(value, type) and value.__module__ == "kernel":
            value._guarded_writes = 1
    return space["kernel"]


def smolagents(source: str) -> Kernel:
    from smolagents.local_python_executor import LocalPythonExecutor

    executor = LocalPythonExecutor(additional_authorized_imports=["json"], timeout_seconds=None)
    executor.send_tools({})
    executor(source)

    def kernel(n: int) -> Any:
        return executor(f"kernel({n})").output

    return kernel


def monty_kernels() -> Callable[[str], Kernel]:
    import pydantic_monty

    # One session for all kernels: a second checkout would wait for the first.
    session = pydantic_monty.Monty().__enter__().checkout().__enter__()

    def load(source: str) -> Kernel:
        session.feed_run(source)
        session.feed_run("0")
        empty = min(wall(lambda: session.feed_run("0")) for _ in range(20))

        def kernel(n: int) -> Any:
            result = None

            def run() -> None:
                nonlocal result
                result = session.feed_run(f"kernel({n})")

            kernel.took = wall(run) - empty  # type: ignore[attr-defined]
            return result

        return kernel

    return load


def best(action: Callable[[], Any], repeat: int) -> float:
    found = math.inf
    for _ in range(repeat):
        # CPU time of this thread: other programs on the machine do not count.
        begun = time.thread_time()
        action()
        found = min(found, time.thread_time() - begun)
    return found


def wall(action: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def size_for(kernel: Kernel) -> int:
    """Return the n for which plain Python takes about `TARGET_S`."""
    n = 256
    while (took := best(functools.partial(kernel, n), 3)) < TARGET_S / 2:
        n *= 2
    return max(1, int(n * TARGET_S / took))


def measure(repeat: int, peers: dict[str, Any]) -> dict[str, dict[str, float | str]]:
    """Return ratios to plain Python: kernel -> implementation -> ratio, or why there is none."""
    here = {"policy": policy, "stock guards": stock}
    table: dict[str, dict[str, float | str]] = {}
    for name, source in KERNELS.items():
        reference = plain(source)
        n = size_for(reference)
        expected = reference(n)
        row: dict[str, float | str] = {}
        loaded: dict[str, Kernel] = {}
        for label, load in here.items():
            try:
                loaded[label] = load(source)
                assert loaded[label](n) == expected
            except Exception as error:
                row[label] = f"{type(error).__name__}: {error}"[:60]
                loaded.pop(label, None)
        times = dict.fromkeys(["plain", *loaded], math.inf)
        for _ in range(repeat):  # alternating, so that a slow second hits all of them
            for label, kernel in {"plain": reference, **loaded}.items():
                times[label] = min(times[label], best(functools.partial(kernel, n), 1))
        row.update({label: times[label] / times["plain"] for label in loaded})
        for label in peers:
            row[label] = _peer(label, peers, source, n, expected, times["plain"])
        table[name] = row
    return table


def _peer(
    label: str, peers: dict[str, Any], source: str, n: int, expected: Any, reference: float
) -> float | str:
    try:
        if label == "monty" and peers[label] is None:
            peers[label] = monty_kernels()
        kernel = peers[label](source)
        took = math.inf
        for _ in range(3 if label == "monty" else 1):
            begun = time.thread_time()
            result = kernel(n)
            took = min(took, getattr(kernel, "took", time.thread_time() - begun))
        return took / reference if result == expected else "wrong result"
    except ImportError:
        return "not installed"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:60].replace("\n", " ")


def main() -> None:
    """Print the table of ratios, and the geometric mean of the policy."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-peers", action="store_true", help="leave smolagents and monty out")
    options = parser.parse_args()
    table = measure(options.repeat, {} if options.no_peers else {"smolagents": smolagents, "monty": None})
    if options.json:
        json.dump(table, sys.stdout)
        return
    labels = ["policy", "stock guards", "smolagents", "monty"]
    print(f"time as a multiple of plain CPython {sys.version.split()[0]}, best of {options.repeat}")
    print(f"{'':20}" + "".join(f"{label:>15}" for label in labels))
    for name, row in table.items():
        cells = [f"{row[x]:.2f}" if isinstance(row.get(x), float) else "-" for x in labels]
        print(f"{name:20}" + "".join(f"{cell:>15}" for cell in cells))
    means = []
    for label in labels:
        values = [row[label] for row in map(table.get, TEN) if isinstance(row.get(label), float)]
        means.append(f"{math.exp(sum(map(math.log, values)) / len(values)):.2f}" if values else "-")
    print(f"{'mean of the ten':20}" + "".join(f"{mean:>15}" for mean in means))
    for name, row in table.items():
        for label, value in row.items():
            if isinstance(value, str):
                print(f"  - {name}, {label}: {value}")


if __name__ == "__main__":
    main()
