"""A restricted zone that reaches a sink it never reached before: told at the next epoch, and nothing else."""

from __future__ import annotations

from itertools import islice, product

from streams.audit_log import AUDIT_LOG
from streams.watching.thresholds import NewFlow, Thresholds
from tests.watching.growing import OFFICER, Growing, decision, named, watcher

SOON = Thresholds(new_flow=NewFlow(learned_s=20, shown_s=300))
RESTRICTED = ("unlit-camera", "health", "child-near", "bystander-present")
USUAL = ("glasses.zoned", "processing", "glasses.derived", "store")


def usual(first: int) -> list[dict[str, object]]:
    """What flows all the time, out of restricted zones and others."""
    return [
        decision(zone, sink, first=first, count=20)
        for zone, sink in product((*RESTRICTED, "public", "home-private"), USUAL)
    ]


def learned(store: Growing) -> None:
    """Let the usual flows be known."""
    for number in range(6):
        store.publish(5.0, decisions=usual(number * 20))


def test_a_leak_is_told_at_the_next_epoch_with_its_evidence(store: Growing) -> None:
    learned(store)
    watching = watcher(store, SOON)
    assert watching.look().standing == ()
    store.publish(decisions=[*usual(900), decision("health", "training-run", first=700, count=3)])
    turn = watching.look()
    (change,) = turn.changes
    assert change.state == "begins"
    alert = change.alert
    assert (alert.rule, alert.about) == ("new-flow", {"zone": "health", "sink": "training-run"})
    assert (alert.evidence, alert.events) == (("g1/imu-right/700",), 3)
    assert alert.ask == "sightline ask decisions g1/imu-right/700"
    store.publish(decisions=[decision("health", "training-run", first=703)])
    assert watching.look().changes == (), "it is told once"


def test_ten_flows_that_were_never_there_are_ten_alerts_and_none_is_false(store: Growing) -> None:
    learned(store)
    watching = watcher(store, SOON)
    watching.look()
    injected = list(islice(product(RESTRICTED, ("training-run", "glasses.models", "review")), 0, 10))
    for number, (zone, sink) in enumerate(injected):
        others = [decision(zone, "glasses.answers", passed=False, verdict="deny"), *usual(1000 + 20 * number)]
        store.publish(decisions=[*others, decision(zone, sink, first=number), decision("public", sink)])
        told = watching.look().changes
        assert [(each.state, *each.alert.about.values()) for each in told] == [("begins", zone, sink)]
    assert named(watching.look().standing) == {("new-flow", *flow) for flow in injected}
    # Whoever begins to watch now is told the same.
    assert named(watcher(store, SOON).look().standing) == {("new-flow", *flow) for flow in injected}


def test_what_a_store_began_with_is_no_leak(store: Growing) -> None:
    watching = watcher(store, SOON)
    watching.look()
    learned(store)
    assert watching.look().standing == ()


def test_a_flow_that_is_known_by_name_is_no_leak(store: Growing) -> None:
    learned(store)
    known = Thresholds(new_flow=NewFlow(learned_s=20, known=("health -> training-run",)))
    watching = watcher(store, known)
    watching.look()
    store.publish(decisions=[decision("health", "training-run"), decision("health", "review")])
    assert named(watching.look().standing) == {("new-flow", "health", "review")}


def test_it_ends_when_it_has_been_there_for_long(store: Growing) -> None:
    learned(store)
    watching = watcher(store, SOON)
    watching.look()
    store.publish(decisions=[decision("health", "review")])
    watching.look()
    for _ in range(30):
        store.publish(10.0)
    (change,) = watching.look().changes
    assert (change.state, change.alert.about["sink"]) == ("ends", "review")


def test_who_is_not_shown_a_zone_is_told_nothing_of_it_and_who_is_leaves_a_trace(store: Growing) -> None:
    learned(store)
    officer, analyst = watcher(store, SOON), watcher(store, SOON, "analyst")
    wearer = watcher(store, SOON, "wearer:w2")
    for each in (officer, analyst, wearer):
        each.look()
    before = (store.path / AUDIT_LOG).read_text() if (store.path / AUDIT_LOG).exists() else ""
    store.publish(decisions=[decision("health", "review", wearer="w1")])
    assert named(officer.look().standing) == {("new-flow", "health", "review")}
    assert analyst.look().standing == ()
    assert wearer.look().standing == ()
    added = (store.path / AUDIT_LOG).read_text().removeprefix(before).splitlines()
    assert len(added) == 1
    assert f'"role":"{OFFICER}"' in added[0]
    assert '"question":"watch"' in added[0]
