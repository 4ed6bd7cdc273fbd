"""The project's vocabulary: ``nox -s tests versions types lint escape fuzz bench package docs``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]
LATEST = "3.11"

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
# A missing interpreter must not look like a passed session.
nox.options.error_on_missing_interpreters = True


def install(session: nox.Session, *extras: str) -> None:
    """Install the project, editable, with extras."""
    session.install("-e", f".[{','.join(extras)}]" if extras else ".")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the test suite."""
    install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session(python=LATEST)
def versions(session: nox.Session) -> None:
    """Hold what this version of Python saved against the others, in the environments of their `tests`."""
    install(session, "test")
    others = [
        Path(".nox", f"tests-{version.replace('.', '-')}", "bin", "python").absolute()
        for version in PYTHONS
        if version != LATEST
    ]
    if missing := [str(path) for path in others if not path.exists()]:
        session.error(f"no {' and '.join(missing)}: run nox -s tests --install-only first")
    session.run(
        "pytest",
        *("tests/tools/test_persist.py", "tests/tools/test_capture.py", "tests/tools/test_dependencies.py"),
        *session.posargs,
        env={"PYSANDBOX_TEST_PYTHONS": os.pathsep.join(map(str, others))},
    )


@nox.session(python=LATEST)
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "test", "lint")
    session.run("mypy")


@nox.session(python=LATEST)
def lint(session: nox.Session) -> None:
    """Check format and lint."""
    session.install("ruff>=0.8")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(python=LATEST)
def escape(session: nox.Session) -> None:
    """Attack every layer, with its positive control."""
    install(session, "test")
    walks = ("tests/restricted/test_walk.py", "tests/restricted/test_check_process.py")
    session.run("pytest", "tests/escape", "tests/isolation", *walks, *session.posargs)


@nox.session(python=LATEST)
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoders and soak the pool: 100,000 calls under random kills."""
    install(session, "test")
    env = {"PYSANDBOX_FUZZ_SECONDS": os.environ.get("PYSANDBOX_FUZZ_SECONDS", "120")}
    session.run("pytest", "tests/fuzz", "tests/wire", *session.posargs, env=env)
    session.run("python", "benchmarks/soak.py", "--calls", os.environ.get("PYSANDBOX_SOAK_CALLS", "100000"))


@nox.session(python=LATEST)
def bench(session: nox.Session) -> None:
    """Measure every figure beside its peer, in one run."""
    install(session, "test", "bench")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(python=LATEST)
def package(session: nox.Session) -> None:
    """Build wheel and sdist, and run the wheel where nothing of the source tree is."""
    session.install("build", "twine")
    out = session.create_tmp()
    shutil.rmtree(Path(out, "dist"), ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", f"{out}/dist", ".")
    session.run("bash", "-c", f"twine check {out}/dist/*")
    (wheel,) = Path(out, "dist").glob("*.whl")
    session.install("--force-reinstall", str(wheel))
    target = os.path.abspath("examples/text_tools.py") + ":word_count"
    with session.chdir(out):
        session.run("pysandbox", "run", target, "--args", '{"text": "to be or not to be"}')


@nox.session(python=LATEST)
def docs(session: nox.Session) -> None:
    """Build the site strictly, and run every command of README and docs as written."""
    install(session, "test", "docs")
    session.run("mkdocs", "build", "--strict", "--site-dir", "site")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session(python="3.13")
def elf(session: nox.Session) -> None:
    """Hold the ELF integration against a checkout of ELF: ``nox -s elf -- path/to/elf0``."""
    if len(session.posargs) != 1:
        session.error("name a checkout of https://github.com/emson/elf0: nox -s elf -- path/to/elf0")
    checkout = os.path.abspath(session.posargs[0])
    install(session, "test")
    session.install("-e", checkout, "pytest-asyncio>=1", "pytest-timeout>=2.4", "pytest-cov>=6")
    session.run(
        "pytest", "-p", "no:asyncio", "tests/integrations/test_elf.py", env={"PYSANDBOX_TEST_ELF": checkout}
    )
