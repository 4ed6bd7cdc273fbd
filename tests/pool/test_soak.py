"""The soak in short: `nox -s fuzz` runs it in full."""

from __future__ import annotations

from benchmarks.soak import Report, grows, soak


def test_random_kills_break_no_promise_of_the_pool():
    report = soak(calls=3_000, in_flight=64, seed=20)
    assert report.violations() == []
    assert report.kills["worker"] and report.kills["template"] + report.kills["keeper"]
    assert report.statuses["ok"] > 1_500


def test_growth_is_what_ends_higher_than_it_began():
    assert not grows([900, 100, 110, 90, 105, 100, 100, 95, 107, 103], 20)
    assert grows([10, 100, 110, 120, 130, 140, 150, 160, 170, 180], 20)


def test_a_report_names_each_broken_promise():
    report = Report(calls=3, in_flight=2, seed=0, descriptors_before=5, descriptors_after=6, survivors=[4711])
    report.settled.update([0, 1, 1])
    report.statuses.update(["ok", "ok", "killed"])
    report.ran.update([1, 1])
    told = "\n".join(report.violations())
    for part in (
        "never settled",
        "settled more than once",
        "ran more than once",
        "no more than 0",
        "4711",
        "5 desc",
    ):
        assert part in told
