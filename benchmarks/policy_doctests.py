"""Run the doctests of real modules as plain Python and under the policy, and compare what they print.

    python benchmarks/policy_doctests.py            # the standard library and the packages of acceptance.py
    python benchmarks/policy_doctests.py --library  # the standard library only

An example counts when both sides ran it: the module loaded, and the examples before it in the same docstring ran on
both. Every import is permitted here, forbidden modules natively, so that more examples run. Examples whose plain output
differs between two runs (addresses, clocks, random numbers) do not count.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import doctest
import io
import json
import pathlib
import resource
import signal
import subprocess
import sys
import sysconfig
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec
from typing import Any

from elf_pysandbox_worker.restricted.namespace import module_builtins

SECONDS_A_MODULE = 10
LIBRARY_ROOT = pathlib.Path(sysconfig.get_path("stdlib"))

_importers: list[Any] = []

Run = Callable[[str, dict[str, Any]], None]


def docstrings(source: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every docstring with examples, from the source: nothing of the module is run."""
    for number, node in enumerate(ast.walk(ast.parse(source))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node, clean=True)
            if text and ">>>" in text:
                yield f"{getattr(node, 'name', 'module')}#{number}", text


def examples(text: str) -> list[doctest.Example]:
    try:
        return [e for e in doctest.DocTestParser().get_examples(text) if doctest.SKIP not in e.options]
    except ValueError:
        return []


def run_examples(source: bytes, namespace: dict[str, Any], run: Run) -> dict[str, list[str]]:
    """Run each docstring's examples in a copy of the namespace; return what each example printed or raised."""
    printed: dict[str, list[str]] = {}
    for name, text in docstrings(source):
        space = dict(namespace)
        if _importers:
            space["__builtins__"] = module_builtins(space, _importers[-1])
        printed[name] = [run_one(example.source, space, run) for example in examples(text)]
    return printed


def run_one(source: str, space: dict[str, Any], run: Run) -> str:
    out = io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            run(source, space)
    except TimeoutError:
        raise
    except BaseException as error:
        if type(error).__module__.startswith("elf_pysandbox"):
            return f"REFUSED {error}"
        return f"{out.getvalue()}\n{type(error).__name__}: {error}"
    return out.getvalue()


def run_plain(source: str, space: dict[str, Any]) -> None:
    exec(compile(source, "<example>", "single", dont_inherit=True), space)


def run_restricted(source: str, space: dict[str, Any]) -> None:
    from elf_pysandbox_worker.restricted.compiler import check_tree
    from elf_pysandbox_worker.restricted.diagnostics import PolicyDenied

    tree = ast.parse(source, mode="single")
    findings = [f for f in check_tree(tree, source.encode(), "<example>", None) if f.severity == "error"]
    if findings:
        raise PolicyDenied(findings)
    exec(compile(tree, "<example>", "single", dont_inherit=True), space)


def load_plain(name: str, files: dict[str, pathlib.Path]) -> dict[str, Any]:
    """Load a module from its source, under its own name, without touching the library's own copy."""
    path = files[name]
    if LIBRARY_ROOT in path.parents and "site-packages" not in path.parts:
        module = types.ModuleType(name)
        module.__package__ = name.rpartition(".")[0]
        module.__file__ = str(path)
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
        return vars(module)
    __import__(name)
    return vars(sys.modules[name])


class BundleFinder:
    """Gives plain Python and `importlib` the bundle's own modules, so that none exists twice."""

    def __init__(self, importer: Any) -> None:
        self._importer = importer

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a spec for a module of the bundle; the library's own stay what they are."""
        own = name in self._importer._files and name.partition(".")[0] not in sys.stdlib_module_names
        return ModuleSpec(name, self) if own else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Load it, where it is not loaded; what the machinery makes and writes to is another one."""
        self._importer._tool_module(spec.name)

    def exec_module(self, module: Any) -> None:
        """Put the bundle's own module in the place of that one."""
        sys.modules[module.__name__] = self._importer._tool_module(module.__name__)

    def get_data(self, path: str) -> bytes:
        """Return a file of the package (`pkgutil.get_data`)."""
        return pathlib.Path(path).read_bytes()


def load_restricted(name: str, files: dict[str, pathlib.Path]) -> dict[str, Any]:
    """Load a module under the language policy, with every import permitted: what is compared is the language."""
    from elf_pysandbox_worker.restricted import PolicyDenied, importer, shadows
    from elf_pysandbox_worker.restricted.state import STATE
    from elf_pysandbox_worker.restricted.views import namespace_of
    from elf_pysandbox_worker.wire.messages import Bundle, SourceFile

    class OpenImporter(importer.Importer):
        def _run(self, module: types.ModuleType, file: SourceFile) -> None:
            space = namespace_of(module)
            space["__spec__"].loader = sys.meta_path[0]
            space["__spec__"]._uninitialized_submodules = []  # plain code imports by the import system
            try:
                super()._run(module, file)
            except PolicyDenied:
                if file.name == name:
                    raise
                # A sibling that the policy refuses runs as plain Python, so that this module's examples count.
                space["__builtins__"] = builtins
                exec(compile(file.source, file.path, "exec", dont_inherit=True), space)

        def refusal(self, name: str) -> None:
            return None

        def _module(self, name: str) -> types.ModuleType:
            if name in self._files or importer.published.forbidden_hint(name) is None:
                return super()._module(name)
            STATE.publish(importer.importlib.import_module(name))
            return sys.modules[name]

        def _is_allowed(self, name: str) -> bool:
            return True

    STATE.confined = True
    shadows.install_loaded()
    STATE.files_granted = True
    STATE.native_roots = frozenset({"numpy", "pandas"})
    bundle = Bundle(
        name,
        [SourceFile(n, str(p), p.read_bytes(), is_package=p.name == "__init__.py") for n, p in files.items()],
    )
    for loaded in files:
        sys.modules.pop(loaded, None)
    _importers[:] = [OpenImporter(bundle, ())]
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, BundleFinder)]
    sys.meta_path.insert(0, BundleFinder(_importers[-1]))
    return vars(_importers[-1].load(name))


def serve(mode: str) -> None:
    """Read (name, files) lines, answer each with what the module's examples printed, or null."""
    warnings.simplefilter("ignore")
    load, run = (load_plain, run_plain) if mode == "plain" else (load_restricted, run_restricted)
    answers = sys.stdout
    sys.stdout = io.StringIO()

    def overdue(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, overdue)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
    for line in sys.stdin:
        name, files = json.loads(line)
        paths = {key: pathlib.Path(value) for key, value in files.items()}
        answer: Any
        try:
            signal.alarm(SECONDS_A_MODULE)
            answer = run_examples(paths[name].read_bytes(), load(name, paths), run)
        except BaseException as error:
            answer = f"{type(error).__name__}: {str(error)[:300]}"
        finally:
            signal.alarm(0)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def ask(mode: str, modules: list[tuple[str, dict[str, str]]], search: list[str]) -> list[Any]:
    """Run one mode over the modules in processes of its own; a process that dies costs only its module."""
    results: list[Any] = []
    while len(results) < len(modules):
        # Few at a time: each restricted load makes a whole package anew.
        rest = modules[len(results) : len(results) + 8]
        ended = subprocess.run(
            [sys.executable, __file__, "--serve", mode],
            input="".join(json.dumps(module) + "\n" for module in rest),
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ":".join(search), "PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
            cwd=tempfile.gettempdir(),
            check=False,
        )
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        results += lines
        if len(lines) < len(rest):
            results.append(f"process ended with {ended.returncode}: {ended.stderr[-300:]}")
    return results


def library_modules() -> list[tuple[str, dict[str, str]]]:
    """Return the pure top-level modules and packages of the standard library that have doctests."""
    found = []
    for path in sorted(LIBRARY_ROOT.glob("*.py")) + sorted(LIBRARY_ROOT.glob("*/__init__.py")):
        name = path.stem if path.name != "__init__.py" else path.parent.name
        if (
            name in sys.stdlib_module_names
            and b">>>" in path.read_bytes()
            and name not in ("doctest", "this")
        ):
            found.append((name, {name: str(path)}))
    return found


def package_modules(folder: pathlib.Path, package: str) -> list[tuple[str, dict[str, str]]]:
    """Return a package's modules with doctests; each brings the whole package as its bundle."""
    files = {}
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if "tests" not in parts:
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = str(path)
    return [(name, files) for name, path in files.items() if b">>>" in pathlib.Path(path).read_bytes()]


def compare(modules: list[tuple[str, dict[str, str]]], search: list[str]) -> dict[str, Any]:
    """Return counts, and every example whose output differs."""
    plain, again, restricted = (ask(mode, modules, search) for mode in ("plain", "plain", "restricted"))
    counts = {
        "modules": len(modules),
        "loaded": 0,
        "same": 0,
        "different": [],
        "refused": [],
        "not_loaded": [],
    }
    for (name, _), one, two, ours in zip(modules, plain, again, restricted, strict=True):
        if isinstance(one, str) or isinstance(two, str):
            continue
        if isinstance(ours, str):
            counts["not_loaded"].append(f"{name}: {ours}")
            continue
        counts["loaded"] += 1
        for place, outputs in one.items():
            for number, output in enumerate(outputs):
                if output != two[place][number]:
                    break
                got = ours[place][number]
                if got.startswith("REFUSED"):
                    counts["refused"].append(f"{name} {place} {number}: {got[:200]}")
                    break
                if got != output:
                    counts["different"].append(
                        f"{name} {place} {number}: {output[:200]!r} became {got[:200]!r}"
                    )
                    break
                counts["same"] += 1
    return counts


def main() -> None:
    """Print the figures and the differences; exit with 1 when there is one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", action="store_true")
    parser.add_argument("--serve", choices=["plain", "restricted"])
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    worker = str(pathlib.Path(__file__).parents[1] / "worker")
    site = [path for path in sys.path if path.endswith("site-packages")]
    results = [compare(library_modules(), [worker, *site])]
    if not options.library:
        import acceptance

        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            acceptance.install(folder)
            for name in acceptance.PACKAGES:
                for part in acceptance.IMPORT_NAMES.get(name, (name,)):
                    results.append(compare(package_modules(folder, part), [temporary, worker, *site]))
    for key in ("modules", "loaded", "same"):
        print(f"{key}: {sum(result[key] for result in results)}")
    for key in ("different", "refused", "not_loaded"):
        lines = [line for result in results for line in result[key]]
        print(f"{key}: {len(lines)}")
        print("".join(f"    {line}\n" for line in lines), end="")
    if any(result["different"] for result in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
