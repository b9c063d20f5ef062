"""Answers as pictures: text for Graphviz (`dot`) and for Mermaid, which draws it in Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streams.printing import say
from streams.queries.answers import Ancestors, Generations, Loop, ReachedRow, Why, WhyStored
from streams.queries.descendants import Descendants
from streams.queries.walk import size, union


@dataclass
class Graph:
    """Nodes by key, each with a few lines of text, and arrows between them with texts."""

    nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    arrows: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def node(self, key: str, *lines: str) -> None:
        """Add a node, or replace its text."""
        self.nodes[key] = tuple(line for line in lines if line)

    def arrow(self, before: str, after: str, says: str = "") -> None:
        """Add an arrow between two nodes; several between the same two are merged, with each text once."""
        for key in (before, after):
            self.nodes.setdefault(key, (key,))
        words = self.arrows.setdefault((before, after), [])
        if says and says not in words:
            words.append(says)


def of_ancestors(answer: Ancestors) -> Graph:
    """Streams that an event was made from, with the numbers of events; arrows go from parent to child."""
    graph = Graph()
    events: dict[str, list[tuple[int, int]]] = {}
    zones: dict[str, set[str]] = {}
    for row in answer.ancestors:
        key = f"{row.source}/{row.stream}"
        events.setdefault(key, []).append((row.first, row.last))
        zones.setdefault(key, set()).update(row.zones)
        graph.arrow(key, row.of, row.operator + loosened(row))
    for key, numbers in events.items():
        graph.node(key, key, counted(size(union(numbers)), "event"), ", ".join(sorted(zones[key])))
    start = answer.id.rpartition("/")[0]
    graph.node(start, answer.id, *graph.nodes.get(start, ())[1:])
    return graph


def of_descendants(answer: Descendants) -> Graph:
    """Streams with events that were made from an event, and models; arrows go from parent to child."""
    graph = Graph()
    events: dict[str, list[tuple[int, int]]] = {}
    zones: dict[str, set[str]] = {}
    for row in answer.descendants:
        key = f"{row.source}/{row.stream}"
        events.setdefault(key, []).append((row.first, row.last))
        zones.setdefault(key, set()).update(row.zones)
        graph.arrow(row.of, key, row.operator + loosened(row))
    for key, numbers in events.items():
        graph.node(key, key, counted(size(union(numbers)), "event"), ", ".join(sorted(zones[key])))
    start = answer.id.rpartition("/")[0]
    graph.node(start, answer.id, *graph.nodes.get(start, ())[1:])
    return graph


def of_generations(answer: Generations) -> Graph:
    """Generations that an event was made from, oldest first."""
    graph = Graph()
    before = ""
    for row in answer.generations:
        graph.node(row.id, row.id, counted(row.answers, "answer"), f"{row.examples:,} examples")
        if before:
            graph.arrow(before, row.id)
        before = row.id
    graph.node(answer.id, answer.id)
    if before:
        graph.arrow(before, answer.id)
    return graph


def of_why(answer: Why) -> Graph:
    """An event between its direct parents and the sinks of its decisions."""
    graph = Graph()
    own = answer.id
    stands = (answer.zone, answer.rule) if isinstance(answer, WhyStored) else ("refused",)
    graph.node(own, own, *stands)
    for row in answer.parents:
        graph.node(row.id, row.id, counted(row.events, "event"), ", ".join(row.zones))
        graph.arrow(row.id, own, row.operator + loosened(row))
    for decision in answer.decisions:
        graph.arrow(own, decision.sink, decision.verdict)
    return graph


def of_loop(answer: Loop) -> Graph:
    """What an event led to: answers and feedback, examples, models."""
    graph = Graph()
    own = answer.id
    graph.node(own, own)
    every = {"answers": answer.answers, "feedback": answer.feedback, "examples": answer.examples}
    carried = {name: ids for name, ids in every.items() if set(ids) - {own}}
    for name, ids in carried.items():
        count = len(ids)
        title = f"{count:,} feedback" if name == "feedback" else counted(count, name.removesuffix("s"))
        graph.node(name, title, ids[0] if count == 1 else f"from {ids[0]} on")
    before = own
    made_of = [name for name in carried if name != "examples"]
    is_feedback = own in answer.feedback
    for name in () if is_feedback else made_of:
        graph.arrow(own, name)
        before = name
    if "examples" in carried:
        for name in (*made_of, *((own,) if is_feedback or not made_of else ())):
            graph.arrow(name, "examples", "example")
        before = "examples"
    for row in answer.generations:
        if row.id != own:
            graph.node(row.id, row.id, counted(row.answers, "answer"))
            graph.arrow(before, row.id, "learned" if row.learned_from_it else "")
        if not row.learned_from_it or row.id == own:
            before = row.id
    return graph


def counted(count: int, noun: str) -> str:
    """A number and what is counted."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def loosened(row: ReachedRow) -> str:
    """By what the label was loosened on the way to a row, if it was."""
    return f", loosened by {row.declassifier}" if row.declassifier else ""


_DOT_LINE, _MERMAID_LINE = "\\n", "<br/>"


def emit_dot(graph: Graph) -> None:
    """Print a graph for Graphviz."""
    numbers = {key: f"n{number}" for number, key in enumerate(graph.nodes)}
    say("digraph sightline {")
    say("  rankdir=LR; node [shape=box];")
    for key, lines in graph.nodes.items():
        say(f"  {numbers[key]} [label={_text(lines, _DOT_LINE, _in_dot)}];")
    for (before, after), words in graph.arrows.items():
        label = f" [label={_text(words, _DOT_LINE, _in_dot)}]" if words else ""
        say(f"  {numbers[before]} -> {numbers[after]}{label};")
    say("}")


def emit_mermaid(graph: Graph) -> None:
    """Print a graph for Mermaid."""
    numbers = {key: f"n{number}" for number, key in enumerate(graph.nodes)}
    say("flowchart LR")
    for key, lines in graph.nodes.items():
        say(f"  {numbers[key]}[{_text(lines, _MERMAID_LINE, _in_mermaid)}]")
    for (before, after), words in graph.arrows.items():
        label = f"|{_text(words, _MERMAID_LINE, _in_mermaid)}|" if words else ""
        say(f"  {numbers[before]} -->{label} {numbers[after]}")


def _text(lines: tuple[str, ...] | list[str], end: str, escaped: Callable[[str], str]) -> str:
    return f'"{end.join(map(escaped, lines))}"'


def _in_dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _in_mermaid(text: str) -> str:
    """Escape text for Mermaid and HTML."""
    return "".join(sign if sign.isalnum() or sign in " -_/.,:~" else f"#{ord(sign)};" for sign in text)
