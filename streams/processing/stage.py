"""Stage 2: run the operators over what the zones let through, and give every query its situation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from streams.consent.view import Known
from streams.consent.words import reference
from streams.errors import operating
from streams.events.batch import Batch
from streams.events.identity import derived_stream, incarnation_of
from streams.events.runs import Parent, Run
from streams.events.state import DeviceState, OpenWindow, Recent
from streams.policy.flow import Stretch, decide
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Step, Tagged
from streams.processing import situation
from streams.processing.operators import OPERATORS, Operator
from streams.processing.windows import ClosedWindow, Columns, Ended, roll
from streams.topology import DERIVED, PROCESSING, STORE

#: Kinds that the stage works on; the state of a device only tells it where sessions end.
READ = frozenset({*OPERATORS, "voice_query", "device_state"})
Stream = tuple[str, str]  #: (source, name)


class Asked(Struct, frozen=True):
    """A query of one event with its situation (None where policy kept it from being derived)."""

    query: Tagged
    situation: Tagged | None


def run(
    tagged: Sequence[Tagged], devices: Mapping[str, DeviceState], policy: Policy, known: Known
) -> tuple[Step, dict[str, DeviceState], list[Asked]]:
    """Derive from one fetch's tagged batches.

    Return the step, the new states, and the queries in partition order.
    """
    step, states, asked = Step(), dict(devices), list[Asked]()
    tagged = admitted(tagged, READ, PROCESSING, policy, step)
    queries = [item for item in tagged if item.batch.kind == "voice_query"]
    times = {item.batch.position: item.batch.appended_ns for item in tagged}
    recents = _windows(tagged, states, _Context(policy, known, step, times))
    for source in dict.fromkeys((*recents, *(item.batch.source for item in queries))):
        found = sorted(
            (*states[source].recents, *recents.get(source, ())),
            key=lambda one: (one.position, one.t_last_ns, one.kind),
        )
        asked += [
            _situation(item, index, found, policy, known, step)
            for item in queries
            if item.batch.source == source
            for index in range(item.batch.run.count)
        ]
        states[source] = replace(states[source], recents=situation.trim(found))
    asked.sort(key=lambda one: one.query.batch.position)
    return step, states, asked


def admitted(
    tagged: Sequence[Tagged], kinds: Collection[str], sink: str, policy: Policy, step: Step
) -> list[Tagged]:
    """What of a fetch is of these kinds and may cross into a stage; the decisions are recorded in `step`."""
    stretches: dict[Stream, Stretch] = {}
    passed = []
    for item in tagged:
        batch = item.batch
        if batch.kind not in kinds:
            continue
        name = (batch.source, batch.stream)
        stretch = stretches.get(name)
        if stretch is None:
            stretch = stretches[name] = Stretch((sink,), policy, step)
        if not stretch.refused(item):
            passed.append(item)
    for stretch in stretches.values():
        stretch.close()
    return passed


@dataclass(frozen=True, slots=True)
class _Context:
    """What deriving needs while a fetch lasts; `times` are the broker's by position."""

    policy: Policy
    known: Known
    step: Step
    times: Mapping[int, int]


def _windows(
    tagged: Sequence[Tagged], states: dict[str, DeviceState], context: _Context
) -> dict[str, list[Recent]]:
    """Roll the windows of every sensor stream in `states` and record what they make.

    Return by device what situations may cite.
    """
    reads: dict[str, dict[Stream, list[Tagged]]] = {kind: {} for kind in OPERATORS}
    ended: dict[str, list[Ended]] = {}
    newest: dict[str, int] = {}
    for item in tagged:
        batch = item.batch
        streams = reads.get(batch.kind)
        if streams is not None:
            streams.setdefault((batch.source, batch.stream), []).append(item)
        elif batch.kind == "device_state" and "ended" in batch.columns["session"]:
            ended.setdefault(batch.source, []).append((batch.position, batch.session_id, 0))
        newer = incarnation_of(batch.stream)
        if newer > newest.get(batch.source, states[batch.source].worked):
            newest[batch.source] = newer
            ended.setdefault(batch.source, []).append((batch.position, None, newer))
    for source, newer in newest.items():
        states[source] = replace(states[source], worked=newer)
    for source in ended:
        for stream, window in states[source].windows.items():
            reads[window.kind].setdefault((source, stream), [])
    recents: dict[str, list[Recent]] = {}
    for kind, streams in reads.items():
        if streams:
            _operate(OPERATORS[kind], streams, ended, states, recents, context)
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
        samples = iter(operator.samples([item for items in streams.values() for item in items]))
        for name, items in streams.items():
            source, stream = name
            opened = windows.setdefault(source, dict(states[source].windows))
            found, left = roll(
                name,
                opened.pop(stream, None),
                [(item, next(samples)) for item in items],
                operator.length,
                ended.get(source, ()),
                operator.breaks,
            )
            closed += found
            if left is not None:
                opened[stream] = left
        # In the order in which they became known, whatever the order of streams in a fetch or in a state:
        # places are numbered in it.
        closed.sort(key=lambda one: (one.position, one.stream, one.window.first))
        made, places = operator.values(closed, {source: states[source].places for source in windows})
    for source, left_open in windows.items():
        states[source] = replace(states[source], windows=left_open, places=places[source])
    for one, columns in zip(closed, made, strict=True):
        recent = _derive(operator, one, columns, context) if columns is not None else None
        if recent is not None:
            recents.setdefault(one.source, []).append(recent)


def _derive(operator: Operator, closed: ClosedWindow, columns: Columns, context: _Context) -> Recent | None:
    """Turn one window into a derived event.

    None where policy does not let it through, or no situation cites its kind.
    """
    window, stream = closed.window, operator.stream(closed.stream)
    policy, step, now_ns = context.policy, context.step, context.times[closed.position]
    label = policy.derive(operator.name, (bytes.fromhex(window.label),))
    batch = Batch(
        operator.name,
        closed.source,
        window.wearer_id,
        window.session_id,
        stream,
        Run(window.first, 1, 1),
        window.t_first_ns,
        0,
        window.origin,
        None,
        {name: [value] for name, value in columns.items()},
        position=closed.position,
        appended_ns=now_ns,
        since_ns=window.since_ns,
    )
    under = reference(closed.source, closed.stream, window.consent)
    consent = context.known.of(window.wearer_id, under, window.since_ns, closed.position, now_ns)
    tagged = Tagged(batch, window.zone, label, JOIN_RULE, "", window.consent, consent)
    if decide(tagged, (DERIVED, STORE), policy, step):
        return None
    parent = Parent(closed.source, closed.stream, window.first, 1, closed.count)
    step.outputs.append(Output(DERIVED, tagged, operator.name, operator.version, (parent,)))
    if not operator.cites:
        return None
    return Recent(
        operator.name,
        stream,
        window.first,
        closed.position,
        window.t_last_ns,
        columns[operator.cites],
        window.zone,
        label.hex(),
        window.wearer_id,
        window.consent,
        window.since_ns,
    )


def _situation(
    query: Tagged, index: int, recents: Sequence[Recent], policy: Policy, known: Known, step: Step
) -> Asked:
    """Join one query with what was known of the wearer when it was asked."""
    batch = query.batch
    one = query if batch.run.count == 1 else replace(query, batch=batch.part(index, index + 1, batch.context))
    with operating(situation.OPERATOR):
        found = situation.cited(batch, index, recents)
        columns = {name: [value] for name, value in situation.values(batch.time_ns(index), found).items()}
    cited = list(found.values())
    label = policy.derive(
        situation.OPERATOR, (query.label, *(bytes.fromhex(recent.label) for recent in cited))
    )
    zone = policy.highest((query.zone, *(recent.zone for recent in cited)))
    made = replace(
        one.batch,
        kind="situation",
        stream=derived_stream(situation.OPERATOR, batch.stream),
        context=None,
        columns=columns,
        changes=(),
        since_ns=min((one.batch.oldest_ns, *(recent.since_ns for recent in cited))),
    )
    number = min((query.consent_number, *(recent.consent for recent in cited)))
    under = reference(batch.source, batch.stream, number)
    tagged = Tagged(
        made,
        zone,
        label,
        JOIN_RULE,
        "",
        number,
        known.of(batch.wearer_id, under, made.since_ns, batch.position, batch.appended_ns),
    )
    if decide(tagged, (DERIVED, STORE), policy, step):
        return Asked(one, None)
    parents = (
        Parent(batch.source, batch.stream, one.batch.run.first, 1, 1),
        *(Parent(batch.source, recent.stream, recent.number, 1, 1, "indirect") for recent in cited),
    )
    step.outputs.append(Output(DERIVED, tagged, situation.OPERATOR, situation.VERSION, parents))
    return Asked(one, tagged)
