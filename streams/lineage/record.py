"""From a Step to lineage rows: nothing that a stage did is left out, and nothing that is not lineage comes in.

Decisions and edges that continue one another become one row; a captured batch keeps a row of its own, since its place
and digest are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from streams.events.codec import digest
from streams.events.kinds import KINDS
from streams.events.record import Outgoing
from streams.events.runs import EdgeRun, Run, extends
from streams.events.step import Decision, Output, Parent, Reject, Step
from streams.lineage.tables import TABLES
from streams.topology import CAPTURED, LINEAGE

ROWS_PER_RECORD_MAX = 2000
Row = dict[str, Any]
Rows = dict[str, list[Row]]


def rows_of(step: Step, policy_version: str, topic: str, partition: int, values: Mapping[int, bytes]) -> Rows:
    """Rows of one fetch of `topic`/`partition`; `values` are the bytes of each output by its index in the step."""
    return {
        "events": [_event(output, policy_version, partition, values[i]) for i, output in enumerate(step.outputs)],
        "edges": _edges(step.outputs),
        "decisions": [_decision(decision, policy_version) for decision in _merged(step.decisions)],
        "rejected": [_rejected(reject, policy_version, topic, partition) for reject in step.rejects]}


def stream_rows(outputs: Iterable[Output], known: Iterable[str]) -> list[Row]:
    """Rows of the streams among `outputs` that are not yet `known` (by name), in order of appearance."""
    found = dict.fromkeys(known)
    rows = []
    for output in outputs:
        batch = output.tagged.batch
        if batch.stream not in found:
            found[batch.stream] = None
            rows.append({"source": batch.source, "stream": batch.stream, "kind": batch.kind, "captured": KINDS[batch.kind].captured})
    return rows


def encode(rows: Rows, partition: int, key: bytes, timestamp_ms: int) -> list[Outgoing]:
    """Records for `glasses.lineage`: column lists by table, a bounded number of rows each, in order."""
    records = []
    left = {table: content for table, content in rows.items() if content}
    while left:
        taken: dict[str, dict[str, list[Any]]] = {}
        room = ROWS_PER_RECORD_MAX
        for table in list(left):
            part, left[table] = left[table][:room], left[table][room:]
            room -= len(part)
            taken[table] = {name: [row[name] for row in part] for name in TABLES[table]}
            if left[table]:
                break
            del left[table]
        records.append(Outgoing(LINEAGE, partition, key, orjson.dumps({"v": 1, "tables": taken}), (("content-type", b"application/json"),),
                                timestamp_ms))
    return records


def _event(output: Output, policy_version: str, partition: int, value: bytes) -> Row:
    batch, tagged = output.tagged.batch, output.tagged
    return {"source": batch.source, "stream": batch.stream, **_run(batch.run), "kind": batch.kind, "zone": tagged.zone,
            "label": tagged.label.hex(), "rule": tagged.rule, "policy_version": policy_version, "wearer": batch.wearer_id,
            "session": batch.session_id, "t_first_ns": batch.t0_ns, "t_last_ns": batch.last_ns,
            "topic": CAPTURED if KINDS[batch.kind].captured else output.topic, "partition": partition, "offset": batch.position,
            "bytes": len(value), "digest": digest(value), "split_from": output.source_digest, "origin": batch.origin}


def _edges(outputs: Sequence[Output]) -> list[Row]:
    """Edge rows; runs of one (child stream, parent stream, operator) that continue one another are merged."""
    merged: dict[tuple[Any, ...], list[EdgeRun]] = {}
    for output in outputs:
        batch = output.tagged.batch
        for parent in output.parents:
            key = (batch.source, batch.stream, parent.source, parent.stream, output.operator, output.operator_version, parent.directness,
                   parent.declassifier)
            runs = merged.setdefault(key, [])
            run = EdgeRun(Run(batch.run.first, batch.run.step, batch.run.count), parent.first, parent.step, parent.width)
            longer = extends(runs[-1], run) if runs else None
            if longer is None:
                runs.append(run)
            else:
                runs[-1] = longer
    return [_edge(key, run) for key, runs in merged.items() for run in runs]


def _edge(key: tuple[Any, ...], run: EdgeRun) -> Row:
    child_source, child_stream, parent_source, parent_stream, operator, version, directness, declassifier = key
    return {"child_source": child_source, "child_stream": child_stream, "child_first": run.child.first, "child_step": run.child.step,
            "child_count": run.child.count, "parent_source": parent_source, "parent_stream": parent_stream,
            "parent_first": run.parent_first, "parent_step": run.parent_step, "parent_width": run.width, "operator": operator,
            "operator_version": version, "directness": directness, "declassifier": declassifier}


def _merged(decisions: Iterable[Decision]) -> list[Decision]:
    """Decisions about consecutive events that say the same become one, in order of the first."""
    merged: dict[tuple[Any, ...], list[tuple[Decision, int]]] = {}
    order: list[tuple[tuple[Any, ...], int]] = []
    for decision in decisions:
        key = (decision.source, decision.stream, decision.sink, decision.verdict, decision.zone, decision.label, decision.rule,
               decision.attributes, decision.consent)
        said = merged.setdefault(key, [])
        first, count = (said[-1][0].run.first, said[-1][1]) if said else (0, 0)
        if count and said[-1][0].run.step == decision.run.step == 1 and first + count == decision.run.first:
            said[-1] = (said[-1][0], count + decision.run.count)
        else:
            order.append((key, len(said)))
            said.append((decision, decision.run.count))
    return [_lengthened(*merged[key][at]) for key, at in order]


def _lengthened(decision: Decision, count: int) -> Decision:
    return decision if count == decision.run.count else replace(decision, run=Run(decision.run.first, 1, count))


def _run(run: Run) -> Row:
    return {"first": run.first, "step": run.step, "count": run.count}


def _decision(decision: Decision, policy_version: str) -> Row:
    fields = {name: getattr(decision, name) for name in Decision.__slots__ if name != "run"}
    return {**fields, **_run(decision.run), "label": decision.label.hex(), "policy_version": policy_version}


def _rejected(reject: Reject, policy_version: str, topic: str, partition: int) -> Row:
    run = reject.run
    return {"source": reject.source, "stream": reject.stream, "first": run.first if run else 0, "count": run.count if run else 0,
            "stage": reject.stage, "reason": reject.reason, "rule": reject.rule, "zone": reject.zone, "policy_version": policy_version,
            "topic": topic, "partition": partition, "offset": reject.position, "bytes": reject.value_bytes, "digest": reject.digest,
            "t_ns": reject.t_ns}


def model_parents(seed: tuple[str, str, int], admitted: Iterable[tuple[str, str, Run]], declassifier: str) -> tuple[Parent, ...]:
    """Parents of a model version: the seed (source, stream, count) and the admitted runs, loosened by `declassifier`."""
    source, stream, count = seed
    return (Parent(source, stream, 0, 1, count),
            *(Parent(source, stream, run.first, 1, run.count, "direct", declassifier) for source, stream, run in admitted))
