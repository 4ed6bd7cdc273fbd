"""The protocol of each channel: what may follow what, on both ends alike."""

from __future__ import annotations

import itertools

import pytest

from elf_pysandbox_worker import state
from elf_pysandbox_worker.wire import messages
from elf_pysandbox_worker.wire.errors import WireError

MESSAGES = {
    messages.Blank: messages.Blank([]),
    messages.Refused: messages.Refused("landlock", "none", "get it"),
    messages.Loaded: messages.Loaded(0.1),
    messages.LoadFailed: messages.LoadFailed("load_failed", messages.ErrorData("E", "m", "")),
    messages.WorkerEnded: messages.WorkerEnded(0, 0),
    messages.Started: messages.Started(1, []),
    messages.Ended: messages.Ended(0),
    messages.Ready: messages.Ready(),
    messages.Output: messages.Output(1, "x"),
}
TABLES = {"keeper": state.KEEPER, "template says": state.TEMPLATE_SAYS, "worker": state.WORKER}


def test_a_template_is_confined_then_loads_then_serves():
    now = state.CONFINING
    for kind in (messages.Blank, messages.Loaded, messages.WorkerEnded, messages.WorkerEnded):
        now = state.advance(state.TEMPLATE_SAYS, now, MESSAGES[kind])
    assert now == state.SERVING


def test_a_worker_that_says_ready_twice_breaks_the_protocol():
    now = state.advance(state.WORKER, state.STARTING, MESSAGES[messages.Ready])
    with pytest.raises(WireError, match="Ready is out of order: the channel is idle"):
        state.advance(state.WORKER, now, MESSAGES[messages.Ready])


@pytest.mark.parametrize("name", TABLES)
def test_every_absent_transition_is_an_error_and_every_present_one_is_not(name):
    table = TABLES[name]
    states = {before for before, _ in table} | set(table.values())
    refused = 0
    for before, kind in itertools.product(states, MESSAGES):
        if (before, kind) in table:
            assert state.advance(table, before, MESSAGES[kind]) == table[before, kind]
        else:
            refused += 1
            with pytest.raises(WireError, match="out of order"):
                state.advance(table, before, MESSAGES[kind])
    assert refused > len(table)


def test_nothing_follows_the_end():
    assert not [before for table in TABLES.values() for before, _ in table if before == state.ENDED]
