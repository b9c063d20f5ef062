"""Stage 2: run the operators over what the zones let through, and give every query its situation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from streams.errors import operating
from streams.events.batch import Batch
from streams.events.identity import derived_stream, incarnation_of
from streams.events.runs import Run
from streams.events.state import DeviceState, OpenWindow, Recent
from streams.policy.crossing import Cited, Crossing, Maker
from streams.policy.step import Tagged
from streams.processing import situation
from streams.processing.operators import Operator, Operators
from streams.processing.windows import ClosedWindow, Columns, Ended, roll
from streams.topology import DERIVED, PROCESSING

#: Kinds that the stage works on besides those that operators read; of `SESSIONS` it only takes the ends.
QUERIES, SESSIONS = "voice_query", "device_state"
Stream = tuple[str, str]  #: (source, name)


#: A query of one event, and its situation.
Asked = tuple[Tagged, Tagged]


def run(
    tagged: Sequence[Tagged],
    devices: Mapping[str, DeviceState],
    operators: Operators,
    crossing: Crossing,
) -> tuple[dict[str, DeviceState], list[Asked]]:
    """Derive from one fetch's tagged batches by `operators`.

    Return the new states, and the queries of which policy lets a situation be derived, in partition order.
    """
    states, asked = dict(devices), list[Asked]()
    admitted = crossing.admit(tagged, {*operators.by_read, QUERIES, SESSIONS}, PROCESSING)
    queries = [item for item in admitted if item.batch.kind == QUERIES]
    times = {item.batch.position: item.batch.appended_ns for item in admitted}
    recents = _windows(admitted, states, _Context(operators, crossing, times))
    for source in dict.fromkeys((*recents, *(item.batch.source for item in queries))):
        citable = sorted(
            (*states[source].recents, *recents.get(source, ())),
            key=lambda recent: (recent.position, recent.t_last_ns, recent.kind),
        )
        asked += [
            answerable
            for item in queries
            if item.batch.source == source
            for index in range(item.batch.run.count)
            if (answerable := _situation(item, index, citable, operators, crossing)) is not None
        ]
        states[source] = replace(states[source], recents=situation.trim(citable, operators.citable))
    asked.sort(key=lambda answerable: answerable[0].batch.position)
    return states, asked


@dataclass(frozen=True, slots=True)
class _Context:
    """What deriving needs while a fetch lasts; `times` are the broker's by position."""

    operators: Operators
    crossing: Crossing
    times: Mapping[int, int]


def _windows(
    tagged: Sequence[Tagged], states: dict[str, DeviceState], context: _Context
) -> dict[str, list[Recent]]:
    """Roll the windows of every sensor stream in `states` and record what they make.

    Return by device what situations may cite.
    """
    reads: dict[str, dict[Stream, list[Tagged]]] = {kind: {} for kind in context.operators.by_read}
    ended: dict[str, list[Ended]] = {}
    newest: dict[str, int] = {}
    for item in tagged:
        batch = item.batch
        streams = reads.get(batch.kind)
        if streams is not None:
            streams.setdefault((batch.source, batch.stream), []).append(item)
        if batch.kind == SESSIONS and "ended" in batch.columns["session"]:
            ended.setdefault(batch.source, []).append((batch.position, batch.session_id, 0))
        newer = incarnation_of(batch.stream)
        if newer > newest.get(batch.source, states[batch.source].worked):
            newest[batch.source] = newer
            ended.setdefault(batch.source, []).append((batch.position, None, newer))
    for source, newer in newest.items():
        states[source] = replace(states[source], worked=newer)
    recents: dict[str, list[Recent]] = {}
    for operator in context.operators.values():
        streams = dict(reads[operator.reads])
        for source in ended:
            for stream in states[source].windows.get(operator.name, ()):
                streams.setdefault((source, stream), [])
        if streams:
            _operate(operator, streams, ended, states, recents, context)
    return recents


def _operate(
    operator: Operator,
    streams: Mapping[Stream, list[Tagged]],
    ended: Mapping[str, list[Ended]],
    states: dict[str, DeviceState],
    recents: dict[str, list[Recent]],
    context: _Context,
) -> None:
    """Run one operator over all its streams of a fetch.

    One call for the samples, one for what the windows make.
    """
    closed: list[ClosedWindow] = []
    windows: dict[str, dict[str, OpenWindow]] = {}
    with operating(operator.name):
        samples = iter(operator.sampled([item for items in streams.values() for item in items]))
        for name, items in streams.items():
            source, stream = name
            opened = windows.setdefault(source, dict(states[source].windows.get(operator.name, {})))
            finished, left = roll(
                name,
                opened.pop(stream, None),
                [(item, next(samples)) for item in items],
                operator.sample,
                operator.length,
                ended.get(source, ()),
                operator.breaks,
            )
            closed += finished
            if left is not None:
                opened[stream] = left
        # In the order in which they became known, whatever the order of streams in a fetch or in a state:
        # an operator that remembers is told of them in it.
        closed.sort(key=lambda window: (window.position, window.stream, window.window.first))
        memories = {
            source: memory
            for source in windows
            if (memory := states[source].memories.get(operator.name)) is not None
        }
        made, remembered = operator.values(closed, memories, context.operators.kinds[operator.name])
    for source, opened in windows.items():
        states[source] = states[source].after(operator.name, opened, remembered.get(source))
    for window, columns in zip(closed, made, strict=True):
        recent = _make(operator, window, columns, context) if columns is not None else None
        if recent is not None:
            recents.setdefault(window.source, []).append(recent)


def _make(operator: Operator, closed: ClosedWindow, columns: Columns, context: _Context) -> Recent | None:
    """Turn one window into a derived event.

    None where policy does not let it through, or no situation cites its kind.
    """
    window = closed.window
    made = Batch(
        kind=operator.name,
        source=closed.source,
        wearer_id=window.wearer_id,
        session_id=window.session_id,
        stream=operator.stream(closed.stream),
        run=Run(window.first, 1, 1),
        t0_ns=window.t_first_ns,
        dt_ns=0,
        origin=window.origin,
        context=None,
        columns={name: [value] for name, value in columns.items()},
        position=closed.position,
        appended_ns=context.times[closed.position],
    )
    maker = Maker(operator.name, operator.version)
    derived = context.crossing.derive(made, maker, (closed.cited(),), DERIVED)
    if derived is None or not operator.cites:
        return None
    return Recent(
        operator.name,
        made.stream,
        window.first,
        closed.position,
        window.t_last_ns,
        columns[operator.cites],
        derived.zone,
        derived.label.hex(),
        window.wearer_id,
        derived.consent_number,
        derived.batch.since_ns,
    )


def _situation(
    queries: Tagged, index: int, recents: Sequence[Recent], operators: Operators, crossing: Crossing
) -> Asked | None:
    """Join the query at `index` of its batch with what was known of the wearer when it was asked.

    None where policy does not let the situation be derived.
    """
    batch = queries.batch
    query = (
        queries
        if batch.run.count == 1
        else replace(queries, batch=batch.part(index, index + 1, batch.context))
    )
    with operating(situation.MAKER.name):
        cited = situation.cited(batch, index, recents, operators.citable)
        shown = situation.values(batch.time_ns(index), cited, operators.citable)
    made = replace(
        query.batch,
        kind="situation",
        stream=derived_stream(situation.MAKER.name, batch.stream),
        context=None,
        columns={name: [value] for name, value in shown.items()},
        changes=(),
    )
    parents = (Cited.of(query), *(situation.parent(batch.source, recent) for recent in cited.values()))
    derived = crossing.derive(made, situation.MAKER, parents, DERIVED)
    return None if derived is None else (query, derived)
