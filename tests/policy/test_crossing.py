"""Every edge of random days: a child inherits from all its parents, and has all parents that it should."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec import structs

import streams
from streams.events.batch import Batch
from streams.events.headers import SINCE
from streams.events.record import Outgoing, StoredRecord
from streams.events.runs import Parent
from streams.policy.crossing import Cited, Maker
from streams.topology import ANSWERS, DERIVED, EXAMPLES
from tests import build
from tests.golden.test_golden import rows as golden_rows
from tests.policy.days import NARROW_OBLIGATION, NARROW_ZONE, played
from tests.policy.oracle import Event, Judge, Key, Prose

SEED, DAYS, BATCHES = 20261128, 24, 80
PROSE = Prose()
NO_LABEL = "label: none, since this policy says nothing about the kind or cannot say a parent's label"
MODEL: Key = ("training", "intent-model", 1, 0)
GOLDEN = Path(__file__).parent.parent / "golden" / "journal"


def model(*, narrow: bool) -> Event:
    """The first version; it is made from the licensed seed, which has its own zone and no wearer."""
    label = PROSE.derived("model", [PROSE.derived("example", [])])
    if narrow:
        label = replace(label, obligations=label.obligations | {NARROW_OBLIGATION})
    zone = NARROW_ZONE if narrow else "public"
    return Event("model", zone, label, 0, "", "", 0, MODEL[0], MODEL[1])


def must_have(fields: Mapping[str, Any], forms: Mapping[str, str]) -> list[str]:
    """Kinds of the parents that a derived record must have, according to its content."""
    columns, kind = fields["columns"], fields["kind"]
    if kind == "situation":
        cited = {
            "activity": columns["activity"][0] != "unknown",
            "place": columns["place_number"][0] > 0,
        }
        return sorted(["voice_query", *(name for name, shown in cited.items() if shown)])
    if kind == "answer":
        requested = columns["intent"][0] == "erasure_request"
        return ["erasure_request"] if requested else ["model", "situation", "voice_query"]
    if kind == "example":
        understood = forms[f"{fields['device_id']}/{fields['stream']}/{fields['first']}"] == "spoken"
        return sorted(["answer", "feedback", "voice_query", *(["model"] if understood else [])])
    read, samples = {
        "activity": ("imu", "samples"),
        "fixation": ("gaze", "samples"),
        "place": ("location", "fixes"),
    }[kind]
    return [read] * int(columns[samples][0])


def forms_of(sent: Sequence[StoredRecord]) -> dict[str, str]:
    """Form of the feedback from which each example was made, by the example's id."""
    every = (orjson.loads(record.value or b"") for record in sent)
    return {
        f"{one['device_id']}/{one['stream'].replace('feedback', 'example')}/{one['first']}": one["columns"][
            "form"
        ][0]
        for one in every
        if one["kind"] == "feedback"
    }


def hold(judge: Judge, sent: Sequence[StoredRecord], written: Sequence[Outgoing]) -> None:
    """Compare records with the lineage: parents by content, and the oldest time and consent of examples."""
    forms = forms_of(sent)
    for record in written:
        if record.topic not in {DERIVED, ANSWERS, EXAMPLES}:
            continue
        fields = orjson.loads(record.value or b"")
        key = fields["device_id"], fields["stream"], fields["first"], fields.get("revision", 0)
        wanted = must_have(fields, forms)
        assert judge.kinds_of_parents(key) == wanted, key
        judge.counts[f"{fields['kind']} of {', '.join(dict.fromkeys(wanted))}"] += 1
        if record.topic == EXAMPLES:
            assert int(dict(record.headers)[SINCE]) == judge.events[key].oldest_ns, key
            assert fields["context"]["consent"] == judge.events[key].consent, key


@pytest.mark.parametrize("part", range(2))
def test_every_edge_of_random_days_hands_down_label_zone_consent_and_time(part: int) -> None:
    print("seed", SEED)  # noqa: T201  shown when it fails: day `number` is drawn from SEED + number
    counts = Counter[str]()
    for number in range(part, DAYS, 2):
        narrow = number % 4 < 2
        sent, written = played(SEED + number, BATCHES, narrow=narrow)
        lineage = build.lineage(written)
        judge = Judge(PROSE, lineage, {MODEL: model(narrow=narrow)})
        hold(judge, sent, written)
        counts += judge.counts
        counts["refused"] += sum(
            row["verdict"] != "allow"
            and row["stream"].partition("~")[0] in {"situation", "answer", "example"}
            for row in lineage["decisions"]
        )
    print(dict(counts))  # noqa: T201
    for met in (
        "situation of activity, place, voice_query",
        "situation of voice_query",
        "answer of model, situation, voice_query",
        "answer of erasure_request",
        "example of answer, feedback, voice_query",
        "example of answer, feedback, model, voice_query",
    ):
        assert counts[met] >= 20, met
    for met in ("labels differ", "zones differ", "consents differ"):
        assert counts[met] >= 100, met
    assert counts["revisions"] >= 10


def test_every_edge_of_the_golden_journal_holds_models_and_all() -> None:
    judge = Judge(PROSE, golden_rows(GOLDEN))
    assert judge.counts["model"] == 2
    assert judge.counts["declassified"] == 1


def cited(**changes: Any) -> Cited:
    """A query at home as a parent, with changes."""
    label = build.policy().label_of("voice_query", "voice-assistant") or b""
    edge = Parent("g1", "voice-query", 0, 1, 1)
    return structs.replace(Cited(edge, "voice-assistant", label, 1, build.T0_NS), **changes)


def answer() -> Batch:
    made = build.query(0, "wake me at seven", build.T0_NS)
    return structs.replace(made, kind="answer", stream="answer", context=None, appended_ns=build.T0_NS)


def test_what_is_derived_of_nothing_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="answer: found no parent, expected at least one"):
        build.crossing().derive(answer(), Maker("answer", 1), (), ANSWERS)


@pytest.mark.parametrize(
    ("parent", "verdict", "rule"),
    [
        (cited(label=b""), "unconfigured", NO_LABEL),
        (cited(zone="none of the policy's"), "unconfigured", "zones: a parent's is none of this policy's"),
        (cited(consent=7), "deny", "consent: none is known"),
    ],
)
def test_what_policy_refuses_leaves_its_decision_and_nothing_else(
    parent: Cited, verdict: str, rule: str
) -> None:
    door = build.crossing()
    assert door.derive(answer(), Maker("answer", 1), (cited(consent=9), parent), ANSWERS) is None
    assert [(one.sink, one.verdict, one.rule) for one in door.step.decisions] == [(ANSWERS, verdict, rule)]
    assert (door.step.outputs, door.step.rejects) == ([], [])


def test_a_kind_that_the_policy_does_not_name_is_said_to_be_a_cause() -> None:
    door = build.crossing()
    made = structs.replace(answer(), kind="unheard_of")
    assert door.derive(made, Maker("unheard-of", 1), (cited(),), ANSWERS) is None
    assert [(one.sink, one.verdict, one.rule) for one in door.step.decisions] == [
        (ANSWERS, "unconfigured", NO_LABEL)
    ]


#: Names that a stage would need to compute labels and decisions of derived events by itself.
DOORS_OWN = {"decide", "JOIN_RULE", "Output", "reference", "rule_against"}


@pytest.mark.parametrize("room", ["processing", "assistant", "feedback", "training"])
def test_stages_have_no_way_past_the_door(room: str) -> None:
    for path in (Path(streams.__file__).parent / room).rglob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert not names & DOORS_OWN, f"{path} decides or labels by itself; streams/policy/crossing.py does"
