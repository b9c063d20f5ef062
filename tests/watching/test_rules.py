"""Each alert rule on real stores: a day on which it begins and ends, and one on which it does not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pytest

from streams import limits
from streams.errors import UnavailableError
from streams.feedback import forms
from streams.queries.role import Role
from streams.snapshots.writer import Writer
from streams.watching.absorbing import BAD_FEEDBACK
from streams.watching.alert import Alert
from streams.watching.reading import Refused
from streams.watching.rules import RULES
from streams.watching.thresholds import ModelOverdue, Thresholds
from streams.watching.watcher import Watcher
from tests.snapshots.build import Row
from tests.watching.days import CASES, QUIET, THRESHOLDS, Case, Day, model, nothing_is_published, unconfigured
from tests.watching.growing import OFFICER, Growing, Time, decision, growing_store, watcher


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} | {"disk-filling"} == {rule.name for rule in RULES}


def test_bad_feedback_is_what_the_stage_calls_so() -> None:
    assert {rule for rule, _ in forms.DENIALS.values()} | {"rated-low"} == BAD_FEEDBACK


def collected(case: Case, days: tuple[Day, ...], store: Growing) -> list[tuple[str, str]]:
    """State and rule of all changes of some days."""
    changes: list[tuple[str, Alert]] = []
    watching = watcher(store, THRESHOLDS)
    look = watching.look

    def looked(*arguments: object, **more: object) -> object:
        turn = look(*arguments, **more)  # type: ignore[arg-type]
        changes.extend((each.state, each.alert) for each in turn.changes)
        return turn

    watching.look = looked  # type: ignore[method-assign,assignment]
    watching.look()
    for day in days:
        day(store, watching)
    for state, alert in changes:
        if state == "begins" and alert.rule == case.rule:
            assert alert.events == case.events
            assert bool(alert.evidence) == case.evidence
            assert alert.ask.startswith("sightline ")
            assert alert.advice
    return [(state, alert.rule) for state, alert in changes]


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_it_begins_once_and_ends_once(case: Case, store: Growing) -> None:
    changes = collected(case, (case.begins, case.ends), store)
    assert [state for state, rule in changes if rule == case.rule] == ["begins", "ends"]
    assert {rule for _, rule in changes} == {case.rule}, "and nothing else is told"


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_steps_of_the_clock_do_not_hide_it(case: Case, store: Growing) -> None:
    steps(store)
    assert ("begins", case.rule) in collected(case, (case.begins,), store)


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_it_stays_quiet_whatever_the_clock_does(case: Case, store: Growing) -> None:
    steps(store)
    assert collected(case, (case.quiet,), store) == []


def steps(store: Growing) -> None:
    """After every third epoch the wall clock is set a day ahead or back, in turn."""
    real, steps_s = store.publish, cycle((86_400.0, 0.0, 0.0, -86_400.0, 0.0, 0.0))

    def stepping(*arguments: float, **rows: list[Row]) -> None:
        real(*arguments, **rows)  # type: ignore[arg-type]
        store.time.step_s(next(steps_s))

    store.publish = stepping  # type: ignore[method-assign,assignment]


def test_a_disk_that_fills(store: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    free = [500_000]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1_000_000, 0, free[0]))
    watching = watcher(store, THRESHOLDS)
    assert watching.look().standing == ()
    # 50 bytes a second: full in 2.7 hours.
    for _ in range(6):
        store.publish(60.0)
        free[0] -= 3000
        assert watching.look().standing == ()
    for _ in range(6):
        store.publish(60.0)
        free[0] -= 20_000
        standing = watching.look().standing
    assert [alert.rule for alert in standing] == ["disk-filling"]
    for _ in range(12):
        store.publish(60.0)
        standing = watching.look().standing
    assert standing == ()
    free[0] = 49_999
    store.publish(600.0)
    assert [alert.rule for alert in watching.look().standing] == ["disk-filling"]


def test_what_arrives_on_glasses_rejected_is_counted_before_the_store_tells(store: Growing) -> None:
    watching = watcher(store, THRESHOLDS)
    for _ in range(15):
        store.publish(10.0)
        assert watching.look(None, (Refused("malformed", 20, "g1/imu-right/1"),)).standing == ()
    store.time.pass_s(1.0)
    (alert,) = watching.look(None, (Refused("malformed", 400, "g1/imu-right/9"),)).standing
    assert (alert.rule, alert.about, alert.evidence) == (
        "refusals-rising",
        {"refused_by": "malformed"},
        ("g1/imu-right/9",),
    )


def test_a_rule_that_is_off_tells_nothing(store: Growing) -> None:
    off: Mapping[str, object] = {
        name: type(getattr(THRESHOLDS, name))(off=True)
        for name in (rule.name.replace("-", "_") for rule in RULES)
    }
    watching = watcher(store, Thresholds(**off))  # type: ignore[arg-type]
    watching.look()
    unconfigured(store, watching)
    nothing_is_published(store, watching)
    assert watching.look().standing == ()


def test_alerts_beyond_the_bound_are_counted(store: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ALERTS_MAX", 2)
    watching = watcher(store, THRESHOLDS)
    watching.look()
    store.publish(decisions=[decision("health", sink) for sink in ("a", "b", "c")])
    turn = watching.look()
    assert (len(turn.standing), turn.left_out) == (2, 1)


def test_a_model_may_be_told_of_before_it_is_overdue(store: Growing) -> None:
    ahead = Thresholds(new_flow=QUIET, model_overdue=ModelOverdue(ahead_s=86_400))
    watching = watcher(store, ahead)
    store.publish(models=[model(store, 1, 3600.0)])
    (alert,) = watching.look().standing
    assert (alert.rule, alert.evidence) == ("model-overdue", ("training/m/1",))


def test_a_store_without_an_epoch_is_waited_for_and_one_that_is_absent_is_not(
    tmp_path: Path, time: Time
) -> None:
    writer = Writer.open(tmp_path / "store")
    try:
        watching = Watcher(tmp_path / "store", Role.of(OFFICER), THRESHOLDS)
        assert watching.look().standing == ()
        time.pass_s(91)
        assert [alert.rule for alert in watching.look().standing] == ["no-epoch"]
        writer.publish(time.wall_ns)
        assert [change.state for change in watching.look().changes] == ["ends"]
    finally:
        writer.close()
    with pytest.raises(UnavailableError, match="there is no store"):
        Watcher(tmp_path / "absent", Role.of(OFFICER), THRESHOLDS).look()


def test_another_store_in_its_place_is_watched_anew(
    tmp_path: Path, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    with growing_store(tmp_path / "store", time) as store:
        watching = watcher(store, THRESHOLDS)
        for _ in range(3):
            store.publish()
        watching.look()
    store.path.rename(tmp_path / "moved")
    assert watching.look().changes == (), "what cannot be read is tried again"
    assert "looking again" in caplog.text
    with growing_store(tmp_path / "store", time) as other:
        unconfigured(other, watching)
        assert "watching begins anew" in caplog.text
        assert [alert.rule for alert in watching.look().standing] == ["unconfigured"]
