"""Stage 2: run the operators on what the zones stage passed on, and give each query its situation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from streams.errors import operating
from streams.events.batch import Batch
from streams.events.identity import derived_stream, incarnation_of
from streams.events.runs import Parent, Run
from streams.events.state import DeviceState, LookBack, OpenWindow, Recent
from streams.limits import REVISION_MAX
from streams.policy.crossing import Cited, Crossing, Maker, joined
from streams.policy.step import Cause, Reject, Stretch, Tagged, in_order
from streams.processing import situation
from streams.processing.late import Made, Rolled, Told, place, roll_on
from streams.processing.operators import Operator, Operators
from streams.processing.windows import ClosedWindow, Columns, Ended
from streams.topology import DERIVED, PROCESSING

#: Kinds that the stage reads beside those of the operators; of `SESSIONS` only the ends of sessions matter.
QUERIES, SESSIONS = "voice_query", "device_state"
Stream = tuple[str, str]  #: (source, name)
_TOO_LATE = Cause(
    PROCESSING,
    "too-late",
    "too late: the window that the samples belong to is no longer kept; no event is made of them",
    "late",
)
_NO_REVISION = Cause(
    PROCESSING,
    "revision",
    "revision: no event is made of the window with the samples that came late, or it has too many revisions; "
    "the former one stays in force",
)


#: What an event is made of, and what is told about its window, if late samples can change that.
_Made = tuple[ClosedWindow, Columns, Told | None]
#: What a situation needs of a new event, and (number, revision) of those that it replaced.
_New = tuple[Recent, tuple[Made, ...]]
#: A single query and its situation.
Asked = tuple[Tagged, Tagged]


def run(
    passed: Sequence[Stretch],
    devices: Mapping[str, DeviceState],
    operators: Operators,
    crossing: Crossing,
) -> tuple[dict[str, DeviceState], list[Asked]]:
    """Run `operators` on the stretches of one fetch that the zones stage passed on.

    Return the new states, and the queries for which the policy allows a situation, in partition order.
    """
    states, asked = dict(devices), list[Asked]()
    admitted = crossing.admit(passed, {*operators.by_read, QUERIES, SESSIONS}, PROCESSING)
    queries = in_order(stretch for stretch in admitted if stretch.kind == QUERIES)
    times = {batch.position: batch.appended_ns for stretch in admitted for batch in stretch.batches}
    recents = _windows(admitted, states, _Context(operators, crossing, times))
    for source in dict.fromkeys((*recents, *(item.batch.source for item in queries))):
        known = situation.Known(states[source].recents, operators.citable)
        made = deque(
            sorted(recents.get(source, ()), key=lambda new: (new[0].position, new[0].t_last_ns, new[0].kind))
        )
        for item in queries:
            if item.batch.source == source:
                while made and made[0][0].position < item.batch.position:
                    known.add(*made.popleft())
                asked += [
                    answerable
                    for index in range(item.batch.run.count)
                    if (answerable := _situation(item, index, known, operators, crossing)) is not None
                ]
        for new in made:
            known.add(*new)
        states[source] = replace(states[source], recents=known.recents)
    asked.sort(key=lambda answerable: answerable[0].batch.position)
    return states, asked


@dataclass(frozen=True, slots=True)
class _Context:
    """What all operators share during a fetch; `times` are append times in ns by position."""

    operators: Operators
    crossing: Crossing
    times: Mapping[int, int]


def _windows(
    admitted: Sequence[Stretch], states: dict[str, DeviceState], context: _Context
) -> dict[str, list[_New]]:
    """Roll the windows of every sensor stream, update `states`, and derive the events of closed windows.

    Return by device the derived events that situations may cite.
    """
    reads: dict[str, dict[Stream, list[Stretch]]] = {kind: {} for kind in context.operators.by_read}
    for stretch in admitted:
        if stretch.kind in reads:
            reads[stretch.kind].setdefault(stretch.stream, []).append(stretch)
    ended = _ended(admitted, states)
    recents: dict[str, list[_New]] = {}
    for operator in context.operators.values():
        streams = dict(reads[operator.reads])
        for source in ended:
            left = states[source]
            for stream in (*left.windows.get(operator.name, ()), *left.kept.get(operator.name, ())):
                streams.setdefault((source, stream), [])
        if streams:
            _operate(operator, streams, ended, states, recents, context)
    return recents


def _ended(admitted: Sequence[Stretch], states: dict[str, DeviceState]) -> dict[str, list[Ended]]:
    """Sessions that end in a fetch, by device.

    A newer incarnation of a device ends all its earlier sessions, and is noted in `states`.
    """
    ended: dict[str, list[Ended]] = {}
    newest: dict[str, int] = {}
    for stretch in admitted:
        source, name = stretch.stream
        if stretch.kind == SESSIONS:
            for batch in stretch.batches:
                if "ended" in batch.columns["session"]:
                    ended.setdefault(source, []).append((batch.position, batch.session_id, 0))
        newer = incarnation_of(name)
        if newer > newest.get(source, states[source].worked):
            newest[source] = newer
            ended.setdefault(source, []).append((stretch.first.batch.position, None, newer))
    for source, newer in newest.items():
        states[source] = replace(states[source], worked=newer)
    return ended


def _operate(
    operator: Operator,
    streams: Mapping[Stream, list[Stretch]],
    ended: Mapping[str, list[Ended]],
    states: dict[str, DeviceState],
    recents: dict[str, list[_New]],
    context: _Context,
) -> None:
    """Run one operator over all its streams of a fetch.

    The operator is called once for all samples, and once for all closed windows.
    """
    rolled: dict[Stream, Rolled] = {}
    windows: dict[str, dict[str, OpenWindow]] = {}
    look_backs: dict[str, dict[str, LookBack]] = {}
    with operating(operator.name):
        samples = iter(operator.sampled([stretch for some in streams.values() for stretch in some]))
        for name, some in streams.items():
            source, stream = name
            opened = windows.setdefault(source, dict(states[source].windows.get(operator.name, {})))
            kept = look_backs.setdefault(source, dict(states[source].kept.get(operator.name, {})))
            rolled[name] = roll_on(
                operator,
                context.operators.kept_max.get(operator.name, 0),
                name,
                opened.pop(stream, None),
                kept.pop(stream, None),
                [(stretch, next(samples)) for stretch in some],
                ended.get(source, ()),
            )
            if (left := rolled[name].left) is not None:
                opened[stream] = left
        # Sorted by when they became known, because the result of an operator with a memory depends on the
        # order, and the order of streams within a fetch is arbitrary.
        closed = sorted(
            (window for of in rolled.values() for window in of.closed),
            key=lambda window: (window.position, window.stream, window.window.first),
        )
        memories = {
            source: memory
            for source in windows
            if (memory := states[source].memories.get(operator.name)) is not None
        }
        made, remembered = operator.values(closed, memories, context.operators.kinds[operator.name])
    outputs = context.crossing.step.outputs
    before = len(outputs)
    for window, columns, event, replaced in _derived(
        operator, list(zip(closed, made, strict=True)), rolled, context
    ):
        if operator.cites:
            recent = _recent(event, window, columns[operator.cites])
            recents.setdefault(window.source, []).append((recent, replaced))
    if any(of.told for of in rolled.values()):
        # Those that replace others were derived last; on the topic all stand in the order of completion.
        outputs[before:] = sorted(outputs[before:], key=lambda output: output.tagged.batch.position)
    for name, of in rolled.items():
        if (look_back := of.look_back()) is not None:
            look_backs[name[0]][name[1]] = look_back
    for source, opened in windows.items():
        states[source] = states[source].after(
            operator.name, operator.version, opened, remembered.get(source), look_backs[source]
        )


def _derived(
    operator: Operator,
    made: Sequence[tuple[ClosedWindow, Columns | None]],
    rolled: Mapping[Stream, Rolled],
    context: _Context,
) -> Iterator[tuple[ClosedWindow, Columns, Tagged, tuple[Made, ...]]]:
    """Derive the events of closed windows.

    Of those that the policy allows, yield all that made them, and what they replace as (number, revision).
    """
    told_of = {(*name, *where): told for name, of in rolled.items() for where, told in of.told.items()}
    plain, changed = list[_Made](), list[tuple[ClosedWindow, Columns | None, Told]]()
    for window, columns in made:
        told = told_of.get((window.source, window.stream, *place(window))) if told_of else None
        if told is not None and told.former:
            changed.append((window, columns, told))
        elif columns is not None:
            plain.append((window, columns, told))
    events = context.crossing.derive_all(
        [(_event(operator, window, columns, context), (window.cited(),)) for window, columns, _ in plain],
        Maker(operator.name, operator.version),
        DERIVED,
    )
    for (window, columns, told), event in zip(plain, events, strict=True):
        if event is not None:
            if told is not None:
                told.make(window.window.first)
            yield window, columns, event, ()
    yield from _revised(operator, changed, context)
    for window in sorted((window for of in rolled.values() for window in of.late), key=place):
        bare = _event(operator, window, {}, context)
        context.crossing.step.rejects.append(Reject.refused(bare, _TOO_LATE, zone=window.window.zone))


def _revised(
    operator: Operator, changed: Iterable[tuple[ClosedWindow, Columns | None, Told]], context: _Context
) -> Iterator[tuple[ClosedWindow, Columns, Tagged, tuple[Made, ...]]]:
    """Derive the next revisions of the events of windows that late samples changed, one by one.

    Each has an edge to every event that it replaces, and which these are depends on the verdicts before it.
    """
    crossing, maker = context.crossing, Maker(operator.name, operator.version)
    for window, columns, told in changed:
        number = window.window.first
        revision = told.revision(number)
        bare = replace(_event(operator, window, columns or {}, context), revision=min(revision, REVISION_MAX))
        if columns is None or revision > REVISION_MAX:
            crossing.step.rejects.append(Reject.refused(bare, _NO_REVISION, zone=window.window.zone))
            continue
        replaced = told.superseded
        parents = (window.cited(), *_former(bare, window, replaced, crossing))
        if (event := crossing.derive(bare, maker, parents, DERIVED)) is not None:
            told.make(number)
            yield window, columns, event, replaced


def _former(
    made: Batch, window: ClosedWindow, replaced: Iterable[Made], crossing: Crossing
) -> Iterator[Cited]:
    """The events that a revision replaces, as its indirect parents; they inherited what it inherits."""
    cited = window.cited()
    _, label = joined(crossing.policy, made.kind, (cited,))
    for number, revision in replaced:
        edge = Parent(made.source, made.stream, number, 1, 1, "indirect", revision=revision)
        yield replace(cited, edge=edge, label=label)


def _event(operator: Operator, closed: ClosedWindow, columns: Columns, context: _Context) -> Batch:
    """Event that an operator makes of one window, before it inherits zone, label and consent."""
    window = closed.window
    return Batch(
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


def _recent(derived: Tagged, closed: ClosedWindow, value: str | float) -> Recent:
    """What a situation needs to cite a derived event; `value` is what it shows."""
    window, batch = closed.window, derived.batch
    return Recent(
        batch.kind,
        batch.stream,
        window.first,
        closed.position,
        window.t_last_ns,
        value,
        derived.zone,
        derived.label.hex(),
        window.wearer_id,
        derived.consent_number,
        derived.batch.since_ns,
        batch.revision,
    )


def _situation(
    queries: Tagged, index: int, known: situation.Known, operators: Operators, crossing: Crossing
) -> Asked | None:
    """Derive the situation of the query at `index` of its batch; None if the policy does not allow it."""
    batch = queries.batch
    query = (
        queries
        if batch.run.count == 1
        else replace(queries, batch=batch.part(index, index + 1, batch.context))
    )
    with operating(situation.MAKER.name):
        cited = known.cited(batch, index)
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
