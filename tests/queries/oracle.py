"""The oracle of the questions: lineage as single events in plain Python, which knows no runs, files or SQL.

Random days are drawn in epochs: devices whose streams are derived from one another, corrections of what was
made, model versions that learn from examples, and answers that they give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.snapshots.build import T0_NS, Row, edge, event, row, stream

#: Source, stream, number and revision.
Node = tuple[str, str, int, int]
MODEL = ("training", "m")
ZONES = ("home-private", "public", "health")
#: Each derived stream with those that it may be made of.
MADE_OF: Mapping[str, tuple[str, ...]] = {
    "activity": ("imu", "gaze"),
    "situation": ("imu", "activity"),
    "answer": ("situation", "voice-query", "model"),
    "example": ("answer", "feedback"),
}
CAPTURED = ("imu", "gaze", "voice-query", "feedback")
SECOND_NS = 1_000_000_000


@dataclass
class Fact:
    """What is known of one event."""

    kind: str
    wearer: str
    zone: str
    t_ns: int
    epoch: int


@dataclass(repr=False)
class Oracle:
    """Single events and what each was made of; `epochs` are the rows that tell a store of them."""

    facts: dict[Node, Fact] = field(default_factory=dict)
    #: Parents of each event, and the epoch that told of it.
    parents: dict[Node, dict[Node, int]] = field(default_factory=lambda: defaultdict(dict))
    epochs: list[dict[str, list[Row]]] = field(default_factory=list)

    def __repr__(self) -> str:
        """How much it is: what it holds would be pages."""
        return f"{len(self.facts)} events"

    @property
    def children(self) -> dict[Node, set[Node]]:
        """Children of each event."""
        children: dict[Node, set[Node]] = defaultdict(set)
        for child, parents in self.parents.items():
            for parent in parents:
                children[parent].add(child)
        return children

    def as_of(self, epoch: int) -> Oracle:
        """What the first epochs told."""
        past = Oracle({node: fact for node, fact in self.facts.items() if fact.epoch <= epoch})
        for child, parents in self.parents.items():
            kept = {parent: told for parent, told in parents.items() if told <= epoch}
            if kept:
                past.parents[child] = kept
        return past

    def levels(
        self, starts: Iterable[Node], *, up: bool, through: Callable[[Node], bool] = lambda _: True
    ) -> dict[Node, int]:
        """Every event before or after some, with the hop that reaches it first; `through` goes on from it."""
        beside = self.parents if up else self.children
        hop_of: dict[Node, int] = {}
        frontier, hop = set(starts), 0
        passed = set(frontier)
        while frontier:
            hop += 1
            reached = {other for node in frontier for other in beside.get(node, ())}
            for node in reached:
                hop_of.setdefault(node, hop)
            frontier = {node for node in reached - passed if through(node)}
            passed |= reached
        return hop_of


def is_model(node: Node) -> bool:
    return node[:2] == MODEL


def kind_of(node: Node) -> str:
    return "model" if is_model(node) else node[1].replace("-", "_")


def node_id(node: Node) -> str:
    source, name, number, revision = node
    return f"{source}/{name}/{number}{f'.{revision}' if revision else ''}"


@st.composite
def oracles(draw: st.DrawFn, epochs: int = 4, devices: Sequence[str] = ("g1", "g2", "g3")) -> Oracle:
    """A day of some devices, told in epochs."""
    oracle = Oracle()
    versions = 0
    for epoch in range(1, epochs + 1):
        rows: dict[str, list[Row]] = {"streams": [], "events": [], "edges": [], "models": []}
        for number, device in enumerate(devices):
            _capture(draw, oracle, rows, device, f"w{1 + number % 2}", epoch)
            for kind, made_of in MADE_OF.items():
                for _ in range(draw(st.integers(0, 2))):
                    _derive(draw, oracle, rows, device, kind, made_of, epoch)
            _correct(draw, oracle, rows, device, epoch)
        examples = [node for node, fact in oracle.facts.items() if fact.kind == "example"]
        if draw(st.booleans()) or not versions:
            versions += 1
            _train(draw, oracle, rows, versions, examples, epoch)
        if epoch == 1:
            rows["streams"] += [stream(*MODEL, "model", captured=False)]
            rows["streams"] += [
                stream(device, name, name.replace("-", "_")) for device in devices for name in CAPTURED
            ]
            rows["streams"] += [
                stream(device, kind, kind, captured=False) for device in devices for kind in MADE_OF
            ]
        oracle.epochs.append(rows)
    return oracle


def _put(oracle: Oracle, rows: dict[str, list[Row]], nodes: Sequence[Node], fact: Fact, step: int) -> None:
    """Tell of a run of events a second apart from one another."""
    source, name, first, revision = nodes[0]
    last_ns = fact.t_ns + (len(nodes) - 1) * SECOND_NS
    for nth, node in enumerate(nodes):
        oracle.facts[node] = Fact(fact.kind, fact.wearer, fact.zone, fact.t_ns + nth * SECOND_NS, fact.epoch)
    times = {"t_first_ns": fact.t_ns, "t_last_ns": last_ns, "appended_ns": last_ns}
    of = {"kind": fact.kind, "wearer": fact.wearer, "zone": fact.zone, "revision": revision}
    rows["events"].append(event(source, name, first, len(nodes), step=step, **of, **times))


def _capture(
    draw: st.DrawFn, oracle: Oracle, rows: dict[str, list[Row]], device: str, wearer: str, epoch: int
) -> None:
    for name in CAPTURED:
        first, kind = sum(node[:2] == (device, name) for node in oracle.facts), name.replace("-", "_")
        nodes = [(device, name, first + nth, 0) for nth in range(draw(st.integers(1, 6)))]
        at_ns = T0_NS + (epoch * 100 + draw(st.integers(0, 50))) * SECOND_NS
        _put(oracle, rows, nodes, Fact(kind, wearer, draw(st.sampled_from(ZONES)), at_ns, epoch), 1)


def _derive(
    draw: st.DrawFn,
    oracle: Oracle,
    rows: dict[str, list[Row]],
    device: str,
    kind: str,
    made_of: Sequence[str],
    epoch: int,
) -> None:
    """A run of derived events, each of a window of one or two streams, told as the device's pipeline does."""
    count, step = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    taken = [node[2] for node in oracle.facts if node[:2] == (device, kind) and not node[3]]
    first = max(taken, default=-1) + 1 + draw(st.integers(0, 2))
    nodes = [(device, kind, first + step * nth, 0) for nth in range(count)]
    wearer = next(fact.wearer for node, fact in oracle.facts.items() if node[0] == device)
    at_ns = T0_NS + (epoch * 100 + draw(st.integers(0, 90))) * SECOND_NS
    _put(oracle, rows, nodes, Fact(kind, wearer, draw(st.sampled_from(ZONES)), at_ns, epoch), step)
    for parent_kind in made_of:
        if parent_kind != made_of[-1] and draw(st.integers(0, 3)) == 0:
            continue
        name = MODEL if parent_kind == "model" else (device, parent_kind)
        known = [node[2] for node in oracle.facts if node[:2] == name and not node[3]]
        if known:
            width = 1 if parent_kind == "model" else draw(st.integers(1, 4))
            start = draw(st.sampled_from(known))
            # What comes later is no parent: lineage has no cycle.
            room = max(known) - start + 1
            width = min(width, room)
            advance = min(draw(st.integers(0, 3)), (room - width) // max(count - 1, 1))
            run = (start, 0 if parent_kind == "model" else advance, width)
            _tie(oracle, rows, nodes, (*name, 0), run, kind, epoch, step)


def _tie(
    oracle: Oracle,
    rows: dict[str, list[Row]],
    nodes: Sequence[Node],
    parent: tuple[str, str, int],
    run: tuple[int, int, int],
    operator: str,
    epoch: int,
    step: int = 1,
) -> None:
    """Say that events were made of `width` numbers each of a stream's revision, `advance` further on."""
    start, advance, width = run
    source, name, revision = parent
    for nth, node in enumerate(nodes):
        for number in range(start + advance * nth, start + advance * nth + width):
            oracle.parents[node].setdefault((source, name, number, revision), epoch)
    rows["edges"].append(
        edge(
            nodes[0][:3],
            (source, name, start),
            child_step=step,
            child_count=len(nodes),
            child_revision=nodes[0][3],
            parent_revision=revision,
            parent_step=advance,
            parent_width=width,
            operator=operator,
        )
    )


def _correct(draw: st.DrawFn, oracle: Oracle, rows: dict[str, list[Row]], device: str, epoch: int) -> None:
    """A correction of something derived: made of what it corrects and of one more captured event."""
    derived = [node for node, fact in oracle.facts.items() if node[0] == device and fact.kind == "activity"]
    if not derived or draw(st.booleans()):
        return
    source, name, number, _ = draw(st.sampled_from(derived))
    newest = max(node[3] for node in derived if node[2] == number)
    node = (source, name, number, newest + 1)
    fact = oracle.facts[source, name, number, newest]
    _put(oracle, rows, [node], Fact(fact.kind, fact.wearer, fact.zone, fact.t_ns, epoch), 1)
    _tie(oracle, rows, [node], (source, name, newest), (number, 0, 1), "revision", epoch)
    _tie(oracle, rows, [node], (source, "imu", 0), (draw(st.integers(0, 3)), 0, 1), "revision", epoch)


def _train(
    draw: st.DrawFn,
    oracle: Oracle,
    rows: dict[str, list[Row]],
    version: int,
    examples: Sequence[Node],
    epoch: int,
) -> None:
    """A model version that learned from some of the examples there are."""
    node = (*MODEL, version, 0)
    _put(oracle, rows, [node], Fact("model", "", "public", T0_NS + (epoch * 100 + 95) * SECOND_NS, epoch), 1)
    learned = [example for example in examples if draw(st.integers(0, 2))]
    for source, name, number, revision in learned:
        _tie(oracle, rows, [node], (source, name, revision), (number, 0, 1), "training", epoch)
    rows["models"].append(
        row("models", source=MODEL[0], stream=MODEL[1], version=version, examples=len(learned), zone="public")
    )
