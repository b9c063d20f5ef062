"""From a Step to lineage rows: nothing that a stage did is left out, and nothing but lineage comes in.

Decisions and edges that continue one another become one row; a captured batch keeps a row of its own, since
its place and digest are its own. Rows travel in blocks: what all rows of a block say is said once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from msgspec import Struct
from msgspec.structs import astuple, replace

from streams.events.digest import digest
from streams.events.record import Outgoing
from streams.events.runs import EdgeRun, Parent, Run, extends, longer_run
from streams.limits import LINEAGE_ROWS_MAX, LINEAGE_TEXT_BYTES_MAX
from streams.lineage.rows import DecisionRow, EdgeRow, RejectedRow
from streams.lineage.tables import RECORD_VERSION, TABLES
from streams.policy.step import Decision, Output, Reject, Step
from streams.topology import CAPTURED, LINEAGE, ZONED

RECORD_BYTES_MAX = 768 * 1024
Row = dict[str, Any]
Rows = dict[str, list[Row]]


class Block(Struct):
    """Rows of one table: `all` holds what every row says, `each` one list a column for the rest."""

    all: dict[str, Any]
    each: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.each.values())))

    def part(self, start: int, end: int) -> Block:
        """Rows `start` to `end` (exclusive)."""
        return Block(self.all, {name: values[start:end] for name, values in self.each.items()})


Blocks = dict[str, list[Block]]


def blocks_of(step: Step, policy_version: str, topic: str, partition: int, values: Sequence[bytes]) -> Blocks:
    """Rows of one fetch of `topic`/`partition`; `values` are the outputs' bytes, in the step's order."""
    return {
        "events": _events(step.outputs, policy_version, partition, values),
        "edges": _blocks_of_rows(_edges(step.outputs)),
        "decisions": _blocks_of_rows(
            [_decision(decision, policy_version) for decision in _merged(step.decisions)]
        ),
        "rejected": _blocks_of_rows(
            [_rejected(reject, policy_version, topic, partition) for reject in step.rejects]
        ),
    }


def blocks(table: str, rows: Sequence[Row]) -> list[Block]:
    """Any rows of a table as blocks: columns that say the same of all of them say it once."""
    return _blocks({name: [row[name] for row in rows] for name in TABLES[table]}) if rows else []


def _blocks_of_rows(rows: Sequence[EdgeRow] | Sequence[DecisionRow] | Sequence[RejectedRow]) -> list[Block]:
    """Rows of one type as blocks."""
    if not rows:
        return []
    columns = map(list, zip(*map(astuple, rows), strict=True))
    return _blocks(dict(zip(rows[0].__struct_fields__, columns, strict=True)))


def _blocks(columns: dict[str, list[Any]]) -> list[Block]:
    # One column is left for `each`: it says how many rows there are.
    once = [name for name, values in columns.items() if _said_once(values)][: len(columns) - 1]
    return [
        Block(
            {name: columns[name][0] for name in once},
            {name: values for name, values in columns.items() if name not in once},
        )
    ]


def _said_once(values: Sequence[Any]) -> bool:
    """Whether a column says the same of several rows, and nothing long that a reader would repeat."""
    value = values[0]
    long = isinstance(value, str) and len(value) > LINEAGE_TEXT_BYTES_MAX
    return len(values) > 1 and not long and values.count(value) == len(values)


def encode(tables: Blocks, partition: int, key: bytes, timestamp_ms: int) -> list[Outgoing]:
    """Records for `glasses.lineage`, a bounded number of rows and bytes each, in order."""
    records: list[Outgoing] = []
    taken: Blocks = {}
    room = LINEAGE_ROWS_MAX

    def write(some: Blocks) -> None:
        rows = sum(len(block) for content in some.values() for block in content)
        # What wearers said comes in long texts: too many of them are never put together.
        characters = sum(
            len(text) for block in some.get("inputs", ()) for text in block.each.get("value", ())
        )
        value = b"" if rows > 1 and characters > RECORD_BYTES_MAX else _dumped(some)
        if rows > 1 and (not value or len(value) > RECORD_BYTES_MAX):
            # What is too long is not kept while its parts are made.
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
    """The first `first` rows, and the rest."""
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


def _events(
    outputs: Sequence[Output], policy_version: str, partition: int, values: Sequence[bytes]
) -> list[Block]:
    """A row an output; those of one stream, zone and session are one block."""
    groups: dict[tuple[Any, ...], list[tuple[Output, bytes]]] = {}
    for output, value in zip(outputs, values, strict=True):
        tagged = output.tagged
        batch = tagged.batch
        key = (
            batch.source,
            batch.stream,
            batch.revision,
            tagged.zone,
            tagged.label,
            tagged.rule,
            batch.session_id,
            batch.wearer_id,
            tagged.consent_number,
            batch.origin,
            batch.run.step,
            batch.kind,
            output.topic,
            output.source_digest,
        )
        group = groups.get(key)
        if group is None:
            groups[key] = [(output, value)]
        else:
            group.append((output, value))
    written = []
    for (
        source,
        stream,
        revision,
        zone,
        label,
        rule,
        session,
        wearer,
        consent,
        origin,
        step,
        kind,
        topic,
        split_from,
    ), members in groups.items():
        batches = [output.tagged.batch for output, _ in members]
        written.append(
            Block(
                {
                    "source": source,
                    "stream": stream,
                    "revision": revision,
                    "step": step,
                    "kind": kind,
                    "zone": zone,
                    "label": label.hex(),
                    "rule": rule,
                    "policy_version": policy_version,
                    "wearer": wearer,
                    "consent": consent,
                    "session": session,
                    "topic": CAPTURED if topic == ZONED else topic,
                    "partition": partition,
                    "split_from": split_from,
                    "origin": origin,
                },
                {
                    "first": [batch.run.first for batch in batches],
                    "count": [batch.run.count for batch in batches],
                    "t_first_ns": [batch.t0_ns for batch in batches],
                    "t_last_ns": [batch.last_ns for batch in batches],
                    "appended_ns": [batch.appended_ns for batch in batches],
                    "offset": [batch.position for batch in batches],
                    "bytes": [len(value) for _, value in members],
                    "digest": [digest(value) for _, value in members],
                },
            )
        )
    return written


class _Link(NamedTuple):
    """What edges that can be one run have in common."""

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
    """Edge rows; runs of one (child stream, parent stream, operator) that continue one another are merged."""
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
    """Decisions that say the same of events that continue one another become one, in order of the first."""
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


def _decision(decision: Decision, policy_version: str) -> DecisionRow:
    return DecisionRow(
        source=decision.source,
        stream=decision.stream,
        first=decision.run.first,
        step=decision.run.step,
        count=decision.run.count,
        t_ns=decision.t_ns,
        sink=decision.sink,
        purpose=decision.purpose,
        verdict=decision.verdict,
        passed=decision.passed,
        mode=decision.mode,
        zone=decision.zone,
        label=decision.label.hex(),
        rule=decision.rule,
        policy_version=policy_version,
        attributes=decision.attributes,
        consent=decision.consent,
        consent_state=decision.consent_state,
        wearer=decision.wearer,
        appended_ns=decision.appended_ns,
        at_ns=decision.at_ns,
    )


def _rejected(reject: Reject, policy_version: str, topic: str, partition: int) -> RejectedRow:
    return RejectedRow(
        source=reject.source,
        stream=reject.stream,
        first=reject.run.first if reject.run else 0,
        count=reject.run.count if reject.run else 0,
        stage=reject.cause.stage,
        reason=reject.cause.reason,
        rule=reject.cause.rule,
        outcome=reject.cause.outcome,
        zone=reject.zone,
        policy_version=policy_version,
        topic=reject.topic or topic,
        partition=partition,
        offset=reject.position,
        bytes=reject.value_bytes,
        digest=reject.digest,
        t_ns=reject.t_ns,
        wearer=reject.wearer,
        appended_ns=reject.appended_ns,
    )


def model_parents(
    seed: tuple[str, str, int], admitted: Iterable[tuple[str, str, Run]], declassifier: str
) -> tuple[Parent, ...]:
    """Parents of a model version: the seed and the admitted runs, loosened by `declassifier`.

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
