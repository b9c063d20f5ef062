"""Questions about the whole store, against single events and decisions that know no SQL."""

from __future__ import annotations

import random
import tempfile
import tomllib
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.audit_log import AUDIT_LOG
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.limits import TIME_NS_MAX
from streams.policy.source import POLICIES
from streams.queries.changes import changes
from streams.queries.completeness import CompleteStream, completeness
from streams.queries.crossings import crossings
from streams.queries.find import Wanted, find
from streams.queries.moments import moments_at
from streams.queries.reads import reads
from streams.queries.spread import Window
from streams.queries.store import Store
from streams.queries.withdraw import withdrawal
from tests.queries.oracle import CAPTURED, SECOND_NS, Fact, Node, Oracle, node_id, oracles
from tests.queries.test_reach import FEW
from tests.snapshots.build import HOUSEHOLD, POLICY, T0_NS, Row, edge, event, row, store, stream, tagged

DAY_NS = 86_400 * SECOND_NS
#: Whose words need no consent, as the policy's file says.
FREE = {
    zone["name"]
    for zone in tomllib.loads((POLICIES / "household.toml").read_text(encoding="utf-8"))["zones"]
    if zone.get("without_consent")
}
#: Of which each sink may receive every kind below, for the same purpose.
SINKS = ("store", "glasses.zoned")
PLACES = (("imu", "public"), ("ppg", "health"), ("consent_change", "rights"), ("device_state", "device"))
#: A line of the audit log: second, user and zones; None for one that nobody can read.
Logged = tuple[int, str, tuple[str, ...] | None]
PURPOSES = ("dpv:RequestedServiceProvision", "ai:ModelTraining")
GIVEN = "given for dpv:RequestedServiceProvision ai:ModelTraining"


def completeness_of(oracle: Oracle) -> dict[tuple[str, str], CompleteStream]:
    """What the question has to say of each derived stream."""
    outputs: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node, fact in oracle.facts.items():
        if fact.kind not in {name.replace("-", "_") for name in CAPTURED}:
            outputs[node[:2]].append(node)
    streams = {}
    for (source, name), nodes in outputs.items():
        parents = {node: oracle.parents.get(node, {}) for node in nodes}
        kind = oracle.facts[nodes[0]].kind
        if kind == "example" and not any(parents.values()):
            continue
        whole = [node for node in nodes if parents[node] and parents[node].keys() <= oracle.facts.keys()]
        broken = [node[2] for node in nodes if parents[node] and node not in whole]
        first = {"first_unresolved": node_id((source, name, min(broken), 0))} if broken else {}
        streams[source, name] = CompleteStream(source, name, kind, len(nodes), len(whole), **first)
    return streams


def wanted(fact: Fact, wearer: str, zone: str, kind: str) -> bool:
    return wearer in ("", fact.wearer) and zone in ("", fact.zone) and kind in ("", fact.kind)


@FEW
@given(oracle=oracles(devices=("g1", "g2")), data=st.data())
def test_what_is_whole_found_and_new_is_as_single_events_have_it(oracle: Oracle, data: st.DataObject) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        Store.open(store(Path(name) / "s", *oracle.epochs)) as opened,
    ):
        whole = completeness_of(oracle)
        answer = completeness(opened)
        assert {(each.source, each.stream): each for each in answer.streams} == whole
        assert answer.outputs == sum(each.outputs for each in whole.values())
        assert answer.resolved == sum(each.resolved for each in whole.values())
        facts = list(oracle.facts.values())
        names = [{"", *(getattr(fact, field) for fact in facts)} for field in ("wearer", "zone", "kind")]
        for _ in range(5):
            wearer, zone, kind = (data.draw(st.sampled_from(sorted(some))) for some in names)
            epoch = data.draw(st.integers(0, 4))
            # No run of these days is in two spans of a hundred seconds.
            since_ns = T0_NS + epoch * 100 * SECOND_NS if epoch else 0
            window = Window(since_ns, since_ns + 100 * SECOND_NS - 1 if epoch else TIME_NS_MAX)
            mine = [
                fact
                for fact in facts
                if wanted(fact, wearer, zone, kind) and window.since_ns <= fact.t_ns <= window.until_ns
            ]
            hits = find(opened, Wanted(wearer, zone, kind, window=window))
            assert hits.events == sum(each.events for each in hits.runs) == len(mine)
            starts = {node_id(node) for node, fact in oracle.facts.items() if fact in mine}
            assert {each.id for each in hits.runs} <= starts
        for after, upto in combinations(range(1, 5), 2):
            _check_changes(oracle, opened, after, upto)


def _check_changes(oracle: Oracle, opened: Store, after: int, upto: int) -> None:
    answer = changes(opened, moments_at(opened, str(after), "FROM"), moments_at(opened, str(upto), "TO"))
    came = {node: fact for node, fact in oracle.facts.items() if after < fact.epoch <= upto}
    events: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fact in came.values():
        events[fact.kind, fact.zone].append(fact.wearer)
    assert {(each.kind, each.zone): (each.wearers, each.events) for each in answer.events} == {
        key: (len({*wearers} - {""}), len(wearers)) for key, wearers in events.items()
    }
    assert {each.id for each in answer.models} == {
        node_id(node) for node, fact in came.items() if fact.kind == "model"
    }
    assert not answer.streams.rows


class Drawn(NamedTuple):
    """One decision."""

    place: tuple[str, str]
    sink: str
    passed: bool
    events: int
    at_ns: int
    wearer: str
    consent: str
    purpose: str

    def row(self, number: int) -> Row:
        kind, zone = self.place
        shared = {"zone": zone, "label": (HOUSEHOLD.label_of(kind, zone) or b"").hex(), "wearer": self.wearer}
        return row(
            "decisions",
            source="g1",
            stream=kind,
            first=100 * number,
            count=self.events,
            sink=self.sink,
            purpose=self.purpose,
            passed=self.passed,
            verdict="allow" if self.passed else "deny",
            policy_version=HOUSEHOLD.version,
            consent_state=self.consent,
            at_ns=self.at_ns,
            appended_ns=T0_NS,
            mode="enforcing",
            **shared,
        )


# No time of a decision is that of appending, except where the row has none of its own.
TIMES = (0, T0_NS + 7, T0_NS + DAY_NS // 24, T0_NS + DAY_NS, T0_NS + 2 * DAY_NS)


def decisions_of(draw: random.Random) -> list[Drawn]:
    """Decisions of all sorts; Hypothesis itself would begin with forty that are alike."""
    return [
        Drawn(
            draw.choice(PLACES),
            draw.choice(SINKS),
            draw.choice((True, True, False)),
            draw.randint(1, 9),
            draw.choice(TIMES),
            draw.choice(("w1", "w1", "w2", "")),
            draw.choice((GIVEN, GIVEN, "none", "")),
            draw.choice(PURPOSES),
        )
        for _ in range(60)
    ]


def reads_of(draw: random.Random) -> list[Logged]:
    """Lines of the audit log, some of which are none."""
    zones = (("health",), ("health", "child-near"), None)
    return [(draw.randint(0, 5), draw.choice(("mara", "jon")), draw.choice(zones)) for _ in range(20)]


@FEW
@given(seed=st.integers(0, 2**32 - 1))
def test_what_crossed_would_stop_and_was_read_is_as_single_decisions_have_it(seed: int) -> None:
    draw = random.Random(seed)
    decisions, log = decisions_of(draw), reads_of(draw)
    rows = {
        "policies": [POLICY],
        "events": [event("g1", "imu", 0, 9, **tagged(wearer="w1", session="s"))],
        "decisions": [each.row(number) for number, each in enumerate(decisions)],
    }
    with tempfile.TemporaryDirectory() as name:
        path = store(Path(name) / "s", rows)
        (path / AUDIT_LOG).write_bytes(b"".join(map(_line, log)))
        with Store.open(path) as opened:
            for zone, sink in (("", ""), ("health", ""), ("", "store"), ("public", "glasses.zoned")):
                _check_crossings(decisions, opened, zone, sink, draw)
            for purpose in ("", *PURPOSES):
                _check_withdrawal(decisions, opened, purpose)
            with pytest.raises(InputError, match="expected one of ai:ModelTraining, dpv:RequestedServiceP"):
                withdrawal(opened, "w1", "ai:ModelTrain")
            _check_reads(log, opened)


def _check_crossings(
    decisions: list[Drawn], opened: Store, zone: str, sink: str, draw: random.Random
) -> None:
    every_ns = draw.choice((DAY_NS // 24, DAY_NS))
    since_ns, until_ns = T0_NS + draw.randint(0, 8), T0_NS + DAY_NS
    refused, window = draw.choice((False, True)), Window(since_ns, until_ns)
    answer = crossings(opened, zone=zone, sink=sink, window=window, every_ns=every_ns, refused=refused)
    went: dict[tuple[str, str, str, str, bool], list[Drawn]] = defaultdict(list)
    for each in decisions:
        at_ns = each.at_ns or T0_NS
        if refused and each.passed:
            continue
        if zone in ("", each.place[1]) and sink in ("", each.sink) and since_ns <= at_ns <= until_ns:
            since = rfc3339(at_ns - at_ns % every_ns)
            went[since, each.place[1], each.sink, each.purpose, each.passed].append(each)
    assert {(c.t, c.zone, c.sink, c.purpose, c.passed): (c.wearers, c.events) for c in answer.crossings} == {
        key: (len({each.wearer for each in some} - {""}), sum(each.events for each in some))
        for key, some in went.items()
    }
    mine = [each for some in went.values() for each in some]
    assert answer.passed_events == sum(each.events for each in mine if each.passed)
    assert answer.stopped_events == sum(each.events for each in mine if not each.passed)


def _check_withdrawal(decisions: list[Drawn], opened: Store, purpose: str) -> None:
    answer = withdrawal(opened, "w1", purpose)
    stopped: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in decisions:
        if each.wearer == "w1" and each.passed and each.consent == GIVEN and purpose in ("", each.purpose):
            stopped[each.sink, each.purpose][each.place[1] in FREE] += each.events
    assert {(each.sink, each.purpose): [each.stopped, each.passed] for each in answer.sinks} == stopped
    assert answer.undecided == 0


def _line(read: Logged) -> bytes:
    nth, user, zones = read
    if zones is None:
        return b"no line of ours\n"
    t = rfc3339(T0_NS + nth * SECOND_NS)
    return orjson.dumps({"t": t, "role": "analyst", "user": user, "question": "q", "zones": zones}) + b"\n"


def _check_reads(log: list[Logged], opened: Store) -> None:
    since_ns = T0_NS + 2 * SECOND_NS
    for zone, user in (("", ""), ("child-near", ""), ("health", "jon")):
        answer = reads(opened, zone=zone, user=user, since_ns=since_ns)
        kept = [
            (nth, who, zones)
            for nth, who, zones in log
            if zones and nth >= 2 and zone in ("", *zones) and user in ("", who)
        ]
        by_zone: dict[tuple[str, str], list[int]] = defaultdict(list)
        for nth, who, zones in kept:
            for name in zones:
                if zone in ("", name):
                    by_zone[name, who].append(nth)
        assert answer.reads == len(kept)
        assert answer.unreadable == sum(zones is None for _, _, zones in log)
        assert {(z.zone, z.user): (z.reads, z.since, z.until) for z in answer.by_zone} == {
            key: (len(some), *(rfc3339(T0_NS + end * SECOND_NS) for end in (min(some), max(some))))
            for key, some in by_zone.items()
        }
        times = [each.t for each in answer.latest]
        assert times == sorted(times, reverse=True)


def test_a_correction_is_no_parent_of_what_was_made_before(tmp_path: Path) -> None:
    """The number is stored with another revision than the edge names."""
    rows = {
        "streams": [stream("g1", "activity", "activity", captured=False)],
        "events": [
            event("g1", "activity", 0, revision=1, kind="activity"),
            event("g1", "activity", 1, kind="activity"),
        ],
        "edges": [
            edge(("g1", "activity", 0), ("g1", "activity", 0), child_revision=1),
            edge(("g1", "activity", 1), ("g1", "activity", 0), parent_revision=1),
        ],
    }
    with Store.open(store(tmp_path / "s", rows)) as opened:
        answer = completeness(opened)
    assert (answer.outputs, answer.resolved) == (2, 1)
    assert answer.streams.rows[0].first_unresolved == "g1/activity/0"
