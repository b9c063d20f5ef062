"""Stage 2: run the operators over what the zones let through, and give every query its situation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from streams.events.batch import Batch
from streams.events.identity import derived_stream
from streams.events.runs import Run
from streams.events.state import DeviceState, Recent
from streams.events.step import Output, Parent, Step, Tagged
from streams.policy.flow import STORE, decide
from streams.policy.policy import Policy
from streams.processing import situation
from streams.processing.operators import OPERATORS, Columns, Operator
from streams.processing.windows import ClosedWindow, roll
from streams.topology import DERIVED

#: What `events.rule` says of a derived event: its label is the join of its parents' labels.
JOIN_RULE = "join of parents"


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of one event with its situation (None where policy kept it from being derived)."""

    query: Tagged
    situation: Tagged | None


def run(tagged: Sequence[Tagged], devices: Mapping[str, DeviceState], policy: Policy) -> tuple[Step, dict[str, DeviceState], list[Asked]]:
    """Derive from one fetch's tagged batches; return the step, the new states, and the queries in partition order."""
    step, states, asked = Step(), dict(devices), list[Asked]()
    by_device: dict[str, list[Tagged]] = {}
    for item in tagged:
        by_device.setdefault(item.batch.source, []).append(item)
    for source, items in by_device.items():
        state = _windows(items, states[source], policy, step)
        for item in items:
            if item.batch.kind == "voice_query":
                asked += [_situation(item, index, state.recents, policy, step) for index in range(item.batch.run.count)]
        states[source] = replace(state, recents=situation.trim(state.recents))
    asked.sort(key=lambda one: one.query.batch.position)
    return step, states, asked


def _windows(items: Sequence[Tagged], state: DeviceState, policy: Policy, step: Step) -> DeviceState:
    """Roll the windows of every sensor stream of a device and record what they make."""
    ended = [item.batch.position for item in items if item.batch.kind == "device_state" and "ended" in item.batch.columns["session"]]
    streams: dict[str, list[Tagged]] = {stream: [] for stream in state.windows} if ended else {}
    for item in items:
        if item.batch.kind in OPERATORS:
            streams.setdefault(item.batch.stream, []).append(item)
    windows, recents, places = dict(state.windows), list(state.recents), state.places
    made: list[tuple[int, str, Operator, ClosedWindow]] = []
    for stream, batches in streams.items():
        opened = windows.pop(stream, None)
        operator = OPERATORS[opened.kind if opened else batches[0].batch.kind]
        samples = operator.samples(batches) if batches else ()
        closed, left = roll(opened, list(zip(batches, samples, strict=True)), operator.length, ended, operator.breaks)
        if left is not None:
            windows[stream] = left
        made += [(one.position, stream, operator, one) for one in closed]
    # In the order in which they became known, whatever the order of streams in a fetch or in a state: the places that a device knows
    # are numbered in it.
    for _, stream, operator, one in sorted(made, key=itemgetter(0, 1)):
        columns, places = operator.values(one, places)
        if columns is not None:
            recent = _derive(operator, items[0].batch.source, stream, (one, columns), policy, step)
            recents += [recent] if recent else []
    recents.sort(key=lambda recent: (recent.position, recent.t_last_ns, recent.kind))
    return replace(state, windows=windows, recents=tuple(recents), places=places)


def _derive(operator: Operator, source: str, primary: str, made: tuple[ClosedWindow, Columns], policy: Policy, step: Step) -> Recent | None:
    """Turn one window into a derived event; None where policy does not let it through, or no situation cites its kind."""
    closed, columns = made
    window, stream = closed.window, operator.stream(primary)
    label = policy.derive(operator.name, (bytes.fromhex(window.label),))
    batch = Batch(operator.name, source, window.wearer_id, window.session_id, stream, Run(window.first, 1, 1), window.t_first_ns, 0,
                  window.origin, {}, {name: [value] for name, value in columns.items()}, position=closed.position)
    tagged = Tagged(batch, window.zone, label, JOIN_RULE)
    if not (decide(tagged, DERIVED, policy, step) and decide(tagged, STORE, policy, step)):
        return None
    step.outputs.append(Output(DERIVED, tagged, operator.name, operator.version, (Parent(source, primary, window.first, 1, closed.count),)))
    if not operator.cites:
        return None
    return Recent(operator.name, stream, window.first, closed.position, window.t_last_ns, columns[operator.cites], window.zone, label.hex())


def _situation(query: Tagged, index: int, recents: Sequence[Recent], policy: Policy, step: Step) -> Asked:
    """Join one query with what was known of the wearer when it was asked."""
    batch = query.batch
    one = query if batch.run.count == 1 else replace(query, batch=batch.part(index, index + 1, batch.context))
    found = situation.cited(batch, index, recents)
    cited = list(found.values())
    label = policy.derive(situation.OPERATOR, (query.label, *(bytes.fromhex(recent.label) for recent in cited)))
    zone = policy.highest((query.zone, *(recent.zone for recent in cited)))
    columns = {name: [value] for name, value in situation.values(batch.time_ns(index), found).items()}
    made = replace(one.batch, kind="situation", stream=derived_stream(situation.OPERATOR, batch.stream), context={}, columns=columns,
                   changes=())
    tagged = Tagged(made, zone, label, JOIN_RULE)
    if not (decide(tagged, DERIVED, policy, step) and decide(tagged, STORE, policy, step)):
        return Asked(one, None)
    parents = (Parent(batch.source, batch.stream, one.batch.run.first, 1, 1),
               *(Parent(batch.source, recent.stream, recent.number, 1, 1, "indirect") for recent in cited))
    step.outputs.append(Output(DERIVED, tagged, situation.OPERATOR, situation.VERSION, parents))
    return Asked(one, tagged)
