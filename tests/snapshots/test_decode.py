"""Columns of many records at once are judged as each row would be alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams.events.record import StoredRecord
from streams.events.shipped import SHIPPED
from streams.lineage.tables import RECORD_VERSION, TABLES, WRITTEN_BY
from streams.policy.stored import read_stored
from streams.snapshots.intake import decode, genuine, overlap
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows import allowed, columns
from streams.snapshots.rows.poll import Poll
from tests.snapshots.build import HOUSEHOLD, POLICY, Row, batch, derived, edge, row, stream, tagged

Rows = Mapping[str, Sequence[Row]]
#: offset -> rule of what is left out whole; (offset, rule) -> rows that are left out alone
Verdicts = tuple[dict[int, str], dict[tuple[int, str], int]]


class Nothing(Lookup):
    """What an empty store knows."""

    def __init__(self) -> None:
        self._highest: dict[tuple[str, str], int] = {}

    def policies(self, versions: Iterable[str], texts: Mapping[str, str]) -> dict[str, Any]:
        return {version: read_stored(version, texts[version]) for version in versions if version in texts}

    def highest(self, streams: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return {each: self._highest.setdefault(each, -1) for each in streams}

    def taken(self, streams: Any, of: Any, low: Any, high: Any) -> Any:
        return np.zeros(len(of), bool)

    def written(self, children: Any) -> Any:
        return np.zeros(len(children), bool)

    def kinds(self, streams: Any) -> dict[tuple[str, str], str]:
        return {}

    def versions(self, table: str) -> set[int]:
        return set()


def blocks(rows: Sequence[Row], once: frozenset[str]) -> list[dict[str, Any]]:
    """Rows as one block; columns in `once` that say the same of all rows stand in `all`."""
    found = {name: [each[name] for each in rows] for name in rows[0]}
    said = {
        name: values[0]
        for name, values in found.items()
        if name in once and all(orjson.dumps(value) == orjson.dumps(values[0]) for value in values)
    }
    each = {name: values for name, values in found.items() if name not in said}
    return [{"all": said, "each": each}] if each else [{"all": {}, "each": found}]


#: Tables of which only training writes rows.
BY_TRAINING = {table for table, agents in WRITTEN_BY.items() if agents == {"training"}}


def record(offset: int, rows: Rows, once: frozenset[str] = frozenset()) -> StoredRecord:
    key = b"training/0" if BY_TRAINING & rows.keys() else b"glasses/0"
    tables = {table: blocks(some, once) for table, some in rows.items() if some}
    return StoredRecord(offset, 0, key, orjson.dumps({"v": RECORD_VERSION, "tables": tables}))


def verdicts(poll: Poll) -> Verdicts:
    left: dict[tuple[int, str], int] = defaultdict(int)
    for (owner, rule, _), count in poll._left.items():
        left[poll.places[owner].record.offset, rule] += count
    return {poll.places[owner].record.offset: rule for owner, (rule, _) in poll._refused.items()}, dict(left)


def judged(records: Sequence[StoredRecord]) -> Poll:
    poll, known = decode.read({0: records}), Nothing()
    genuine.check_tags(poll, known)
    overlap.check(poll, known)
    return poll


_KINDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "int": (int,),
    "float": (float, int),
    "flag": (bool,),
}


def fits(table: str, name: str, value: Any) -> bool:
    """Whether one value is one that its column can have: the rules of `columns`, said again for one value."""
    if type(value) not in _KINDS[TABLES[table][name]] or (
        type(value) is int and not -(2**63) <= value < 2**63
    ):
        return False
    rule = columns.RULES[table][name]
    match rule:
        case allowed.Between(low, high):
            return bool(low <= value <= high)
        case allowed.Form(pattern):
            return re.fullmatch(pattern, value) is not None
        case allowed.OneOf(words):
            return value in words
        case allowed.KindName(making):
            made = {kind.name for kind in SHIPPED.derived} | {"training"}
            return value in (made if making else SHIPPED)
        case allowed.Text(bytes_max):
            return len(value.encode()) <= bytes_max
        case allowed.Checked(said):
            return said(value)
        case allowed.Flag():
            return True


def overlapping(kept: Sequence[tuple[int, Rows]]) -> dict[tuple[int, str], int]:
    """Rows of honest records that stand where others stand, by numbers one by one: nothing but sets."""
    left: dict[tuple[int, str], int] = defaultdict(int)
    taken: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    firsts: set[tuple[Any, ...]] = set()
    for offset, rows in kept:
        for one in rows.get("events", ()):
            key = (one["source"], one["stream"], one["revision"])
            own = set(range(one["first"], one["first"] + one["count"]))
            if own & taken[key]:
                left[offset, "duplicate"] += 1
            else:
                taken[key] |= own
                firsts.add((*key, one["first"]))
    told: dict[tuple[Any, ...], list[tuple[int, int, int]]] = defaultdict(list)
    edges = [(offset, one) for offset, rows in kept for one in rows.get("edges", ())]
    bad: dict[int, str] = {}
    for at, (_, one) in enumerate(edges):
        pair = tuple(
            one[f"{side}_{name}"] for side in ("child", "parent") for name in ("source", "stream", "revision")
        )
        numbers = [one["child_first"] + nth * one["child_step"] for nth in range(one["child_count"])]
        if any((*pair[:3], number) not in firsts for number in numbers):
            bad[at] = "duplicate"
            continue
        for nth, number in enumerate(numbers):
            low = one["parent_first"] + nth * one["parent_step"]
            told[*pair, number].append((low, low + one["parent_width"] - 1, at))
    for some in told.values():
        reached = -1
        for low, high, at in sorted(some, key=lambda one: one[0]):
            if low <= reached:
                bad[at] = "duplicate"
            reached = max(reached, high)
    for at, (_, one) in enumerate(edges):
        last = one["parent_first"] + one["parent_step"] * (one["child_count"] - 1) + one["parent_width"] - 1
        there = [
            max(some, default=-1)
            for key, some in taken.items()
            if key[:2] == (one["parent_source"], one["parent_stream"])
        ]
        if at not in bad and last > max(there, default=-1):
            bad[at] = "forged"
    for at, rule in bad.items():
        left[edges[at][0], rule] += 1
    return dict(left)


_STREAMS = st.sampled_from(["imu-right", "imu-left"])
_FEW = st.integers(0, 12)
_EVENT = st.one_of(
    st.builds(batch, st.sampled_from(["good", "far"]), _STREAMS, _FEW, st.integers(1, 4)),
    st.builds(derived, st.just("good"), st.just("activity"), _FEW, revision=st.integers(0, 1)),
)
_EDGE = st.builds(
    lambda child, parent, name, step, count, advance, width: edge(
        ("good", "activity", child),
        ("good", name, parent),
        operator="activity",
        child_step=step,
        child_count=count,
        parent_step=advance,
        parent_width=width,
    ),
    *(_FEW, _FEW, _STREAMS, st.integers(1, 2), st.integers(1, 3), st.integers(0, 3), st.integers(1, 4)),
)
_HONEST = st.fixed_dictionaries(
    {"events": st.lists(_EVENT, min_size=1, max_size=4), "edges": st.lists(_EDGE, max_size=2)}
)
ODD: Sequence[Any] = [
    None,
    True,
    1.0,
    1.5,
    -1,
    2**62 + 1,
    2**63,
    "",
    "é" * 4096,
    "G",
    "training",
    "model",
    "health",
    "f" * 32,
    [],
    {},
]
#: Table, row, column and value of one change; without a column none is made.
_CHANGE = st.tuples(
    st.sampled_from(
        ["events", "edges", "decisions", "shadow", "inputs", "models", "streams", "rejected"]
    ).flatmap(lambda table: st.tuples(st.just(table), st.sampled_from(sorted(TABLES[table])))),
    st.integers(0, 7),
    st.sampled_from(ODD),
)


def _row(table: str, **columns: Any) -> Row:
    said = {name: value for name, value in tagged().items() if name in TABLES[table]}
    return row(table, **{**said, **columns})


_RUN = {"source": "good", "stream": "imu-right"}
_NEXT = {"next_version": HOUSEHOLD.version, "next_verdict": "deny"}
#: One row of each table that an agent can have written.
WRITTEN: Rows = {
    "streams": [stream("good", "gaze", "gaze")],
    "events": [batch("good", "imu-right", 0)],
    "edges": [edge(("good", "activity", 0), ("good", "imu-right", 0), operator="activity")],
    "decisions": [_row("decisions", **_RUN, sink="store", verdict="allow", mode="enforcing")],
    "rejected": [_row("rejected", stage="zones", outcome="refused", topic="glasses.captured")],
    "shadow": [_row("shadow", **_RUN, **_NEXT, sink="store", verdict="allow")],
    "inputs": [row("inputs", kind="model-takeup", agent="glasses", topic="glasses.captured", value="1")],
    "models": [_row("models", source="training", stream="intent-model", digest="f" * 32)],
    "training_runs": [_row("training_runs", manifest_digest="f" * 32, trigger="seed")],
    "promotions": [_row("promotions", outcome="promoted", validation_digest="f" * 32)],
    "training_checks": [_row("training_checks", name="repeated", outcome="passed")],
    "training_assets": [_row("training_assets", kind="seed", digest="f" * 32)],
    "feedback": [
        _row(
            "feedback",
            source="good",
            stream="feedback",
            answer_stream="answer",
            form="thumb",
            meaning="denied",
        )
    ],
    "policies": [POLICY],
}


def written(table: str, **changes: Any) -> Rows:
    """A row of a table as it can be, with changes."""
    return {table: [{**WRITTEN[table][0], **changes}]}


def changed(rows: Rows, change: tuple[tuple[str, str], int, Any] | None) -> Rows:
    made = {table: [dict(one) for one in some] for table, some in rows.items()}
    if change is not None:
        (table, name), at, value = change
        if table in BY_TRAINING:
            made = {}
        if not made.get(table):
            made |= {table: [dict(one) for one in written(table)[table]]}
        made[table][at % len(made[table])][name] = value
    return made


_PHASES = (Phase.explicit, Phase.generate)
_MADE = st.lists(st.tuples(_HONEST, st.none() | _CHANGE), min_size=1, max_size=16)
#: Columns that blocks may say once; a long text is none.
_NAMES = sorted({name for table in TABLES.values() for name in table} - {"text"})
_ONCE = st.sets(st.sampled_from(_NAMES)).map(frozenset)


@settings(max_examples=30, suppress_health_check=list(HealthCheck), phases=_PHASES)
@given(_MADE, _ONCE, st.sampled_from([1, 3000, 10**6]))
def test_many_records_at_once_are_judged_as_each_row_is_alone(
    made: list[tuple[Rows, Any]], once: frozenset[str], portion: int
) -> None:
    every = [{"policies": [POLICY]}, *(changed(rows, change) for rows, change in made)]
    some = [(record(offset, rows, once), rows) for offset, rows in enumerate(every)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "DECODE_BYTES", portion)
        poll = judged([one for one, _ in some])
    refused, left = verdicts(poll)
    alone: dict[int, str] = {}
    for offset, (_, rows) in enumerate(some):
        for table, content in rows.items():
            if any(not fits(table, name, value) for one in content for name, value in one.items()):
                alone[offset] = "malformed"
        # One row a block, nothing said once, no other record beside it; only the policy is known.
        poll = decode.read({0: [record(offset, rows)]})
        genuine.check_tags(poll, cast("Lookup", _Household()))
        found = verdicts(poll)[0]
        assert (found.get(offset) == "malformed") >= (offset in alone)
        alone |= found
    assert refused == alone
    kept = [(offset, rows) for offset, (_, rows) in enumerate(some) if offset not in alone]
    assert left == overlapping(kept)


class _Household(Nothing):
    def policies(self, versions: Iterable[str], texts: Mapping[str, str]) -> dict[str, Any]:
        return {version: HOUSEHOLD for version in versions if version == HOUSEHOLD.version}


@pytest.mark.parametrize("portion", [1, 10**9])
def test_each_column_takes_what_it_can_have_and_nothing_else(
    portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every odd value in every column, a record each, in one poll, beside one that is as it should be."""
    monkeypatch.setattr(decode, "DECODE_BYTES", portion)
    cases = [(table, name, value) for table in TABLES for name in TABLES[table] for value in ODD]
    some = [record(at, written(table, **{name: value})) for at, (table, name, value) in enumerate(cases)]
    some += [record(len(some) + at, written(table)) for at, table in enumerate(WRITTEN)]
    poll = decode.read({0: some})
    genuine.check_tags(poll, cast("Lookup", _Household()))
    refused = verdicts(poll)[0]
    assert [offset for offset in refused if offset >= len(cases)] == []
    wrong = {offset for offset, case in enumerate(cases) if not fits(*case)}
    assert {offset for offset in wrong if refused.get(offset) != "malformed"} == set()
    # What a value of the right kind may still be refused for lies between columns, as these do.
    between = {cases[offset][1] for offset in refused.keys() - wrong if refused[offset] == "malformed"}
    assert between <= {"first", "step", "count", "child_first", "child_step", "parent_first", "value"}


@given(_MADE, _ONCE)
@settings(max_examples=10, suppress_health_check=list(HealthCheck), phases=_PHASES)
def test_rows_come_out_as_they_went_in(made: list[tuple[Rows, Any]], once: frozenset[str]) -> None:
    """Whatever of a block was said once, and however records were put together."""
    some = []
    for offset, (rows, _) in enumerate(made):
        own: Rows = {**rows, "events": [{**one, "session": f"s{offset}"} for one in rows["events"]]}
        some.append((record(offset, own, once | {"session"}), own))
    poll = decode.read({0: [one for one, _ in some]})
    for table in ("events", "edges"):
        expected = [one for _, each in some for one in each[table]]
        assert (poll.tables[table].to_pylist() if expected else []) == expected


def test_a_long_text_is_not_repeated_for_many_rows() -> None:
    """A record of 200 kB that would be 800 MB as columns."""
    said = {"name": "", "text": "x" * 200_000, "published_ns": 0}
    block = {"all": said, "each": {"version": [f"{at:016x}" for at in range(4000)]}}
    value = orjson.dumps({"v": RECORD_VERSION, "tables": {"policies": [block]}})
    poll = decode.read({0: [StoredRecord(0, 0, b"glasses/0", value)]})
    assert [(one["rule"], one["reason"]) for one in poll.rejected()] == [
        ("malformed", "policies: found a long text that stands once for many rows")
    ]
