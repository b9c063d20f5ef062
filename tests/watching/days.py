"""Days on which each alert rule begins and ends, and days on which it stays quiet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from streams.watching.reading import Position, Reader
from streams.watching.thresholds import ConsentLate, LineageIncomplete, NewFlow, NoEpoch, Thresholds
from streams.watching.watcher import Watcher
from tests.snapshots.build import Row, batch, derived, edge, row, stream, tagged
from tests.watching.growing import Growing, decision, refusal

QUIET = NewFlow(learned_s=0, shown_s=60, known=("health -> review",))
THRESHOLDS = Thresholds(
    new_flow=QUIET,
    no_epoch=NoEpoch(silent_s=90),
    lineage_incomplete=LineageIncomplete(settling_s=2, shown_s=60),
    consent_late=ConsentLate(shown_s=60),
)
Day = Callable[[Growing, Watcher], None]


class Case(NamedTuple):
    """A rule; a day on which it begins, and what makes it end; and a day on which it stays quiet."""

    rule: str
    begins: Day
    ends: Day
    quiet: Day
    events: int = 0
    evidence: bool = True


def flows(store: Growing, watching: Watcher) -> None:
    store.publish(decisions=[decision("health", "training-run")])
    watching.look()


def flows_known(store: Growing, watching: Watcher) -> None:
    store.publish(decisions=[decision("health", "review"), decision("public", "training-run")])
    watching.look()


def refuses(store: Growing, watching: Watcher, counts: tuple[int, ...]) -> None:
    for number, count in enumerate(counts):
        more = [refusal("purpose is not permitted", count, first=1000 * number)] if count else []
        store.publish(10.0, decisions=more)
        watching.look()


def rises(store: Growing, watching: Watcher) -> None:
    refuses(store, watching, (*[20] * 14, 400))


def falls(store: Growing, watching: Watcher) -> None:
    refuses(store, watching, (20,) * 7)


def always_refuses_much(store: Growing, watching: Watcher) -> None:
    refuses(store, watching, (400,) * 20)


def unconfigured(store: Growing, watching: Watcher) -> None:
    told: dict[str, Any] = {"verdict": "unconfigured", "passed": False, "rule": "no zone's condition holds"}
    store.publish(decisions=[decision("unconfigured", "glasses.zoned", count=7, label="", **told)])
    watching.look()


def a_minute(store: Growing, watching: Watcher) -> None:
    for _ in range(7):
        store.publish(10.0)
        watching.look()


def denies_little(store: Growing, watching: Watcher) -> None:
    store.publish(decisions=[refusal("purpose is not permitted", 5)])
    watching.look()


def device_stops(store: Growing, watching: Watcher) -> None:
    store.publish(events=store.heard("g1"), streams=[stream("g1", "imu-right")])
    a_minute(store, watching)
    a_minute(store, watching)


def device_is_back(store: Growing, watching: Watcher) -> None:
    store.publish(events=store.heard("g1"))
    watching.look()


def device_ends_its_session(store: Growing, watching: Watcher) -> None:
    state = store.heard("g1", stream="device-state", **tagged("device_state", "device"))
    store.publish(events=[*store.heard("g1"), *store.heard("g2")])
    store.publish(events=state)
    # Of another one everything is refused from now on, but it is there.
    for number in range(8):
        malformed = {"topic": "glasses.captured", "rule": "malformed", "stage": "zones", "offset": number + 1}
        store.publish(
            10.0, rejected=[row("rejected", source="g2", stream="imu-right", first=number + 1, **malformed)]
        )
        watching.look()


def activity(store: Growing) -> None:
    """An activity whose parent is not there, while the parent's stream is."""
    store.publish(
        streams=[stream("g1", "activity", "activity", captured=False), stream("g1", "imu-right")],
        events=[derived("g1", "activity", 0), batch("g1", "imu-right", 5, offset=5)],
        edges=[edge(("g1", "activity", 0), ("g1", "imu-right", 0))],
    )


def incomplete(store: Growing, watching: Watcher) -> None:
    activity(store)
    for _ in range(3):
        watching.look()
        store.publish()
    watching.look()


def a_minute_of_g1(store: Growing, watching: Watcher) -> None:
    for number in range(7):
        store.publish(10.0, events=[batch("g1", "imu-right", 10 + number, offset=10 + number)])
        watching.look()


def complete_at_last(store: Growing, watching: Watcher) -> None:
    activity(store)
    watching.look()
    # Its parent, of another partition, comes an epoch later.
    store.publish(events=[batch("g1", "imu-right", 0, offset=6)])
    for _ in range(4):
        store.publish()
        watching.look()


def model(store: Growing, version: int, retrain_in_s: float) -> Row:
    label = {name: value for name, value in tagged("model", "public").items() if name != "kind"}
    by_ns = store.time.wall_ns + int(retrain_in_s * 1e9)
    return row("models", source="training", stream="m", version=version, retrain_by_ns=by_ns, **label)


def overdue(store: Growing, watching: Watcher) -> None:
    store.publish(models=[model(store, 1, 30.0)])
    watching.look()
    a_minute(store, watching)


def trained_again(store: Growing, watching: Watcher) -> None:
    store.publish(models=[model(store, 2, 1e6)])
    watching.look()


def trained_in_time(store: Growing, watching: Watcher) -> None:
    store.publish(models=[model(store, 1, 30.0)])
    watching.look()
    store.publish(models=[model(store, 2, 1e6)])
    a_minute(store, watching)


def feedback(store: Growing, watching: Watcher, rules_: tuple[str, ...], count: int) -> None:
    first = store.number("g1", "feedback", count)
    around = tagged("feedback", "public")
    given = [batch("g1", "feedback", first, count, **around)]
    zone = {name: around[name] for name in ("zone", "policy_version")}
    bad = [
        row(
            "rejected",
            source="g1",
            stream="example",
            first=first + place,
            stage="feedback",
            rule=rule,
            **zone,
        )
        for place, rule in enumerate(rules_)
    ]
    store.publish(events=given, rejected=bad, streams=[stream("g1", "feedback", "feedback")])
    watching.look()


def feedback_is_bad(store: Growing, watching: Watcher) -> None:
    feedback(store, watching, ("negated", "rated-low", "stopped", "asked-again") * 3, 20)


def feedback_is_good(store: Growing, watching: Watcher) -> None:
    feedback(store, watching, (), 20)


def feedback_is_mixed(store: Growing, watching: Watcher) -> None:
    feedback(store, watching, ("negated",) * 9 + ("not-understood", "raters-disagree") * 5, 20)


def says(store: Growing, *words: tuple[str, float, str]) -> list[Row]:
    """What training took up: (status, seconds from now, purposes) of wearer w1."""
    statements = [
        [
            "w1",
            {
                "device": "g1",
                "incarnation": 1,
                "number": number + 1,
                "status": status,
                "purposes": purposes.split(),
                "expires_ns": 0,
                "at_ns": store.time.broker_ns + int(from_now_s * 1e9),
            },
        ]
        for number, (status, from_now_s, purposes) in enumerate(words)
    ]
    value = orjson.dumps(statements).decode()
    return [row("inputs", kind="consent-takeup", agent="training", topic="glasses.examples", value=value)]


def learned_from(store: Growing, from_now_s: float, first: int) -> Row:
    at_ns = store.time.broker_ns + int(from_now_s * 1e9)
    state = "given for ai:ModelTraining dpv:RequestedServiceProvision"
    purpose: dict[str, Any] = {"purpose": "ai:ModelTraining", "consent": 1, "consent_state": state}
    return decision("public", "training-run", first=first, at_ns=at_ns, appended_ns=1, **purpose)


def consent_comes_late(store: Growing, watching: Watcher) -> None:
    # It is decided before anybody takes the word up, in an epoch before.
    store.publish(decisions=[learned_from(store, 15.0, 5)])
    watching.look()
    store.publish(
        inputs=says(
            store,
            ("given", -60.0, "ai:ModelTraining dpv:RequestedServiceProvision"),
            ("given", 0.0, "dpv:RequestedServiceProvision"),
        )
    )
    watching.look()


def consent_is_honoured(store: Growing, watching: Watcher) -> None:
    both = "ai:ModelTraining dpv:RequestedServiceProvision"
    words = (("given", -60.0, both), ("withdrawn", 0.0, ""), ("given", 40.0, both))
    store.publish(
        inputs=says(store, *words),
        # Within the time that it may take, and after the wearer gave it again.
        decisions=[learned_from(store, 9.0, 5), learned_from(store, 45.0, 6)],
    )
    watching.look()


def nothing_is_published(store: Growing, watching: Watcher) -> None:
    watching.look()
    store.time.pass_s(91)
    watching.look()


def published(store: Growing, watching: Watcher) -> None:
    store.publish()
    watching.look()


def a_short_pause(store: Growing, watching: Watcher) -> None:
    watching.look()
    store.time.pass_s(89)
    watching.look()


LAGGING = Reader("glasses", "glasses.captured", 1)


def lags(store: Growing, watching: Watcher, positions: tuple[tuple[int, int], ...]) -> None:
    for next_offset, end_offset in positions:
        store.publish(5.0)
        place = Position(next_offset, end_offset, end_offset - next_offset)
        watching.look({LAGGING: place, Reader("training", "glasses.examples", 0): Position(5, 5, 0)})


def lag_grows(store: Growing, watching: Watcher) -> None:
    lags(store, watching, tuple((100, 100 + 50 * turn) for turn in range(12)))


def lag_is_gone(store: Growing, watching: Watcher) -> None:
    lags(store, watching, ((650, 650),))


def lag_stays(store: Growing, watching: Watcher) -> None:
    lags(store, watching, tuple((50 * turn, 50 * turn + 400) for turn in range(12)))


def nothing(_store: Growing, _watching: Watcher) -> None:
    """The disk is a test of its own."""


CASES = (
    Case("new-flow", flows, a_minute, flows_known, 1),
    Case("refusals-rising", rises, falls, always_refuses_much, 500),
    Case("unconfigured", unconfigured, a_minute, denies_little, 7),
    Case("device-stopped", device_stops, device_is_back, device_ends_its_session),
    Case("lag-growing", lag_grows, lag_is_gone, lag_stays, evidence=False),
    Case("lineage-incomplete", incomplete, a_minute_of_g1, complete_at_last, 1),
    Case("model-overdue", overdue, trained_again, trained_in_time),
    Case("feedback-bad", feedback_is_bad, feedback_is_good, feedback_is_mixed, 12, evidence=False),
    Case("consent-late", consent_comes_late, a_minute, consent_is_honoured, 1),
    Case("no-epoch", nothing_is_published, published, a_short_pause, evidence=False),
)
