"""Convert a `Step` to lineage rows: everything that the stages did, and nothing but lineage.

Decisions and edges that continue each other become one row. Each captured batch has a row of its own, because
its position and digest are its own. Rows are encoded in blocks; a value that all rows of a block share is
written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from msgspec import Struct
from msgspec.structs import astuple, replace

from streams.events.batch import Batch
from streams.events.record import Outgoing
from streams.events.runs import EdgeRun, Parent, Run, extends, longer_run
from streams.limits import LINEAGE_ROWS_MAX, LINEAGE_TEXT_BYTES_MAX
from streams.lineage.as_rows import decision_row, opinion_row, rejected_row
from streams.lineage.rows import DecisionRow, EdgeRow, OpinionRow, RejectedRow, Row
from streams.lineage.tables import RECORD_VERSION, TABLES
from streams.policy.step import Decision, Output, Step, Tagged
from streams.topology import CAPTURED, LINEAGE

RECORD_BYTES_MAX = 768 * 1024


class Block(Struct):
    """Rows of one table: `all` has the values that all rows share, `each` a list for each other column."""

    all: dict[str, Any]
    each: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.each.values())))

    def part(self, start: int, end: int) -> Block:
        """Rows `start` to `end` (exclusive)."""
        return Block(self.all, {name: values[start:end] for name, values in self.each.items()})


Blocks = dict[str, list[Block]]


class Passed(NamedTuple):
    """Digests of the values of one stretch, and of the value that was split, if it is a part of one."""

    split_from: str
    digests: Sequence[str]


class Made(NamedTuple):
    """Size and digest of the value of one output."""

    size_bytes: int
    digest: str


class Written(NamedTuple):
    """What lineage says of the values of a step: of its stretches and of its outputs, in the step's order."""

    passed: Sequence[Passed]
    made: Sequence[Made]


def blocks_of(step: Step, policy_version: str, topic: str, partition: int, written: Written) -> Blocks:
    """Rows of one fetch of `topic`/`partition`."""
    return {
        "events": _events(step, policy_version, partition, written),
        "edges": _blocks_of_rows(_edges(step.outputs)),
        "decisions": _blocks_of_rows(
            [decision_row(decision, policy_version) for decision in _merged(step.decisions)]
        ),
        "rejected": _blocks_of_rows(
            [rejected_row(reject, policy_version, topic, partition) for reject in step.rejects]
        ),
        "feedback": _blocks_of_rows([opinion_row(opinion, policy_version) for opinion in step.opinions]),
    }


def blocks(table: str, rows: Sequence[Row]) -> list[Block]:
    """Any rows of a table as blocks; a value that all rows share is written once."""
    return _blocks({name: [row[name] for row in rows] for name in TABLES[table]}) if rows else []


def _blocks_of_rows(
    rows: Sequence[EdgeRow] | Sequence[DecisionRow] | Sequence[RejectedRow] | Sequence[OpinionRow],
) -> list[Block]:
    """Rows of one type as blocks."""
    if not rows:
        return []
    columns = map(list, zip(*map(astuple, rows), strict=True))
    return _blocks(dict(zip(rows[0].__struct_fields__, columns, strict=True)))


def _blocks(columns: dict[str, list[Any]]) -> list[Block]:
    # At least one column stays in `each`, because its length is the number of rows.
    once = [name for name, values in columns.items() if _said_once(values)][: len(columns) - 1]
    return [
        Block(
            {name: columns[name][0] for name in once},
            {name: values for name, values in columns.items() if name not in once},
        )
    ]


def _said_once(values: Sequence[Any]) -> bool:
    """Whether several rows share a column's value, and it is no long text, which readers would repeat."""
    value = values[0]
    long = isinstance(value, str) and len(value) > LINEAGE_TEXT_BYTES_MAX
    return len(values) > 1 and not long and values.count(value) == len(values)


def encode(tables: Blocks, partition: int, key: bytes, timestamp_ms: int) -> list[Outgoing]:
    """Encode rows as records for `glasses.lineage`, in order, with bounded rows and bytes in each."""
    records: list[Outgoing] = []
    taken: Blocks = {}
    room = LINEAGE_ROWS_MAX

    def write(some: Blocks) -> None:
        rows = sum(len(block) for content in some.values() for block in content)
        # Take-ups of consents are long texts: check their length before they are encoded together.
        characters = sum(
            len(text) for block in some.get("inputs", ()) for text in block.each.get("value", ())
        )
        value = b"" if rows > 1 and characters > RECORD_BYTES_MAX else _dumped(some)
        if rows > 1 and (not value or len(value) > RECORD_BYTES_MAX):
            # Free the value that is too long before its halves are encoded.
            del value
            for half in _halves(some, rows // 2):
                write(half)
            return
        records.append(
            Outgoing(LINEAGE, partition, key, value, (("content-type", b"application/json"),), timestamp_ms)
        )

    for table, content in tables.items():
        for block in content:
            start, count = 0, len(block)
            while start < count:
                end = min(count, start + room)
                taken.setdefault(table, []).append(block if end - start == count else block.part(start, end))
                room -= end - start
                start = end
                if not room:
                    write(taken)
                    taken, room = {}, LINEAGE_ROWS_MAX
    if taken:
        write(taken)
    return records


def _dumped(tables: Blocks) -> bytes:
    return orjson.dumps(
        {
            "v": RECORD_VERSION,
            "tables": {
                table: [{"all": block.all, "each": block.each} for block in content]
                for table, content in tables.items()
            },
        }
    )


def _halves(tables: Blocks, first: int) -> tuple[Blocks, Blocks]:
    """Split rows into the first `first` and the rest."""
    front: Blocks = {}
    back: Blocks = {}
    for table, content in tables.items():
        for block in content:
            here = min(first, len(block))
            first -= here
            if here:
                front.setdefault(table, []).append(block.part(0, here))
            if here < len(block):
                back.setdefault(table, []).append(block.part(here, len(block)))
    return front, back


class _Alike(NamedTuple):
    """Columns of table `events` that all rows of one block share; the label is packed."""

    source: str
    stream: str
    revision: int
    step: int
    kind: str
    zone: str
    label: bytes
    rule: str
    wearer: str
    consent: int
    session: str
    topic: str
    split_from: str
    origin: str

    @classmethod
    def of(cls, tagged: Tagged, topic: str, split_from: str = "") -> _Alike:
        """Columns of a tagged batch for `topic`; `split_from` is the digest of the value that was split."""
        batch = tagged.batch
        return cls(
            batch.source,
            batch.stream,
            batch.revision,
            batch.run.step,
            batch.kind,
            tagged.zone,
            tagged.label,
            tagged.rule,
            batch.wearer_id,
            tagged.consent_number,
            batch.session_id,
            topic,
            split_from,
            batch.origin,
        )


def _events(step: Step, policy_version: str, partition: int, written: Written) -> list[Block]:
    """One row for each batch; rows that agree in `_Alike` are one block."""
    groups: dict[_Alike, tuple[list[Batch], list[int], list[str]]] = {}
    for stretch, passed in zip(step.stretches, written.passed, strict=True):
        batches, sizes, digests = groups.setdefault(
            _Alike.of(stretch.first, CAPTURED, passed.split_from), ([], [], [])
        )
        batches += stretch.batches
        sizes += map(len, stretch.values)
        digests += passed.digests
    for output, value in zip(step.outputs, written.made, strict=True):
        batches, sizes, digests = groups.setdefault(_Alike.of(output.tagged, output.topic), ([], [], []))
        batches.append(output.tagged.batch)
        sizes.append(value.size_bytes)
        digests.append(value.digest)
    return [
        Block(
            {
                **alike._asdict(),
                "label": alike.label.hex(),
                "policy_version": policy_version,
                "partition": partition,
            },
            {
                "first": [batch.run.first for batch in batches],
                "count": [batch.run.count for batch in batches],
                "t_first_ns": [batch.t0_ns for batch in batches],
                "t_last_ns": [batch.last_ns for batch in batches],
                "appended_ns": [batch.appended_ns for batch in batches],
                "offset": [batch.position for batch in batches],
                "bytes": sizes,
                "digest": digests,
            },
        )
        for alike, (batches, sizes, digests) in groups.items()
    ]


class _Link(NamedTuple):
    """Columns that edges must share to be written as one run."""

    child_source: str
    child_stream: str
    child_revision: int
    parent_source: str
    parent_stream: str
    parent_revision: int
    operator: str
    operator_version: int
    directness: str
    declassifier: str


def _edges(outputs: Sequence[Output]) -> list[EdgeRow]:
    """Edge rows; runs of one (child stream, parent stream, operator) that continue each other are merged."""
    merged: dict[_Link, list[EdgeRun]] = {}
    for output in outputs:
        batch = output.tagged.batch
        for parent in output.parents:
            link = _Link(
                batch.source,
                batch.stream,
                batch.revision,
                parent.source,
                parent.stream,
                parent.revision,
                output.operator,
                output.operator_version,
                parent.directness,
                parent.declassifier,
            )
            runs = merged.setdefault(link, [])
            run = EdgeRun(
                Run(batch.run.first, batch.run.step, batch.run.count), parent.first, parent.step, parent.width
            )
            longer = extends(runs[-1], run) if runs else None
            if longer is None:
                runs.append(run)
            else:
                runs[-1] = longer
    return [_edge(link, run) for link, runs in merged.items() for run in runs]


def _edge(link: _Link, run: EdgeRun) -> EdgeRow:
    return EdgeRow(
        child_source=link.child_source,
        child_stream=link.child_stream,
        child_revision=link.child_revision,
        child_first=run.child.first,
        child_step=run.child.step,
        child_count=run.child.count,
        parent_source=link.parent_source,
        parent_stream=link.parent_stream,
        parent_revision=link.parent_revision,
        parent_first=run.parent_first,
        parent_step=run.parent_step,
        parent_width=run.width,
        operator=link.operator,
        operator_version=link.operator_version,
        directness=link.directness,
        declassifier=link.declassifier,
    )


def _merged(decisions: Iterable[Decision]) -> list[Decision]:
    """Merge equal decisions about runs of events that continue each other, in order of their first."""
    merged: dict[tuple[Any, ...], list[int]] = {}
    runs: list[tuple[Decision, Run]] = []
    for decision in decisions:
        key = (
            decision.source,
            decision.stream,
            decision.sink,
            decision.verdict,
            decision.zone,
            decision.label,
            decision.rule,
            decision.attributes,
            decision.consent,
            decision.consent_state,
            decision.wearer,
            decision.at_ns,
        )
        alike = merged.setdefault(key, [])
        longer = longer_run(runs[alike[-1]][1], decision.run) if alike else None
        if longer is None:
            alike.append(len(runs))
            runs.append((decision, decision.run))
        else:
            runs[alike[-1]] = (runs[alike[-1]][0], longer)
    return [decision if run is decision.run else replace(decision, run=run) for decision, run in runs]


def model_parents(
    seed: tuple[str, str, int], admitted: Iterable[tuple[str, str, Run]], declassifier: str
) -> tuple[Parent, ...]:
    """Parents of a model version: the seed and the admitted runs, whose edges name `declassifier`.

    `seed` is (source, stream, count).
    """
    source, stream, count = seed
    return (
        Parent(source, stream, 0, 1, count),
        *(
            Parent(source, stream, run.first, 1, run.count, "direct", declassifier)
            for source, stream, run in admitted
        ),
    )
