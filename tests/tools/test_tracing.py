from __future__ import annotations

import logging
import sys
import types
from typing import Any

import pytest

from elf_pysandbox import CallTrace, Hooks, Limits, Retry, SandboxPool, ToolHandler
from fixtures.toolbox import callables

PHASES = {"bind", "queue", "load", "run", "decode", "total"}


def test_hooks_are_told_of_every_call_with_its_phases(pool: SandboxPool) -> None:
    told: list[tuple[str, CallTrace]] = []
    hooks = Hooks(
        on_start=lambda t: told.append(("start", t)), on_finish=lambda t: told.append(("finish", t))
    )
    handler = ToolHandler(pool, hooks=hooks)
    handler.add_tool(callables.add)
    handler.execute("add", {"a": 1})
    handler.outcome("nope")
    assert [(event, trace.tool, trace.status) for event, trace in told] == [
        ("start", "add", "ok"),
        ("finish", "add", "ok"),
        ("start", "nope", "not_found"),
        ("finish", "nope", "not_found"),
    ]
    trace = told[0][1]
    assert set(trace.phases) == PHASES
    parts = sum(seconds for phase, seconds in trace.phases.items() if phase != "total")
    assert 0 < parts <= trace.phases["total"] * 1.001
    assert trace.usage.wall_s > 0
    assert len({trace.id for _, trace in told}) == 2


def test_retries_and_restarts_are_told(pool: SandboxPool) -> None:
    told: list[str] = []
    hooks = Hooks(
        on_retry=lambda t: told.append(f"retry {t.attempts}"), on_finish=lambda t: told.append(t.status)
    )
    handler = ToolHandler(pool, hooks=hooks, retry=Retry(attempts=3, backoff=0.001, jitter=0, on=("raised",)))
    handler.add_tool("builtins:int")
    handler.outcome("int", {"base": "x"})
    assert told == ["retry 2", "retry 3", "raised"]


def test_a_restart_of_a_template_is_told() -> None:
    import os
    import signal
    import time

    told: list[CallTrace] = []
    with SandboxPool(2) as own:
        handler = ToolHandler(own, hooks=Hooks(on_restart=told.append), limits=Limits(wall_s=20))
        handler.add_tool(callables.add)
        handler.add_tool("time:sleep")
        handler.execute("add", {"a": 1})

        def kill_all(_: CallTrace) -> None:
            before = own.statistics().restarts
            for pid in own.process_ids():
                os.kill(pid, signal.SIGKILL)
            while own.statistics().restarts == before:
                time.sleep(0.001)

        handler._tracer._hooks = (Hooks(on_start=kill_all, on_restart=told.append),)
        handler.outcome("add", {"a": 1})
    assert told


def test_a_hook_that_raises_is_logged_and_ignored(
    pool: SandboxPool, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: CallTrace) -> None:
        raise RuntimeError("no")

    handler = ToolHandler(pool, hooks=Hooks(on_start=broken))
    handler.add_tool(callables.add)
    with caplog.at_level(logging.ERROR, "elf_pysandbox.tools"):
        assert handler.execute("add", {"a": 1}) == 6
    assert "on_start raised" in caplog.text


def test_logging_has_structured_fields(pool: SandboxPool, caplog: pytest.LogCaptureFixture) -> None:
    handler = ToolHandler(pool)
    handler.add_tool(callables.add)
    with caplog.at_level(logging.INFO, "elf_pysandbox.tools"):
        handler.execute("add", {"a": 1})
    (record,) = [record for record in caplog.records if hasattr(record, "sandbox")]
    fields: dict[str, Any] = record.sandbox
    assert fields["tool"] == "add"
    assert fields["status"] == "ok"
    assert {f"{phase}_s" for phase in PHASES} <= set(fields)


def test_nothing_is_traced_that_nobody_asked_for(pool: SandboxPool) -> None:
    assert not ToolHandler(pool)._tracer.watched


def test_spans_are_made_when_opentelemetry_is_there(
    pool: SandboxPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The API's four calls that are used, as its documentation has them; the package itself is not a dependency.
    spans: list[Any] = []

    class Span:
        def __init__(self, name: str, attributes: dict[str, Any]) -> None:
            self.name, self.attributes, self.ended, self.status = name, dict(attributes), False, None

        def set_attribute(self, key: str, value: Any) -> None:
            self.attributes[key] = value

        def set_status(self, status: Any) -> None:
            self.status = status

        def end(self) -> None:
            self.ended = True

    class Tracer:
        def start_span(self, name: str, attributes: dict[str, Any]) -> Span:
            spans.append(Span(name, attributes))
            return spans[-1]

    trace: Any = types.ModuleType("opentelemetry.trace")
    trace.get_tracer = lambda name: Tracer()
    status: Any = types.ModuleType("opentelemetry.trace.status")
    status.Status, status.StatusCode = lambda code, text: (code, text), types.SimpleNamespace(ERROR="error")
    for name, module in {"opentelemetry": types.ModuleType("opentelemetry"), "opentelemetry.trace": trace,
                         "opentelemetry.trace.status": status}.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    handler = ToolHandler(pool)
    handler.add_tool(callables.add)
    handler.execute("add", {"a": 1})
    handler.outcome("add", {"a": "x"})
    assert [span.name for span in spans] == ["tool add", "tool add"]
    assert all(span.ended for span in spans)
    assert spans[0].attributes["sandbox.status"] == "ok"
    assert spans[0].status is None
    assert spans[1].status == ("error", "invalid_arguments")
