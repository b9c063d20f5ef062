"""GraphML: runs as nodes and what was made of them as edges from parent to child, for any tool for graphs."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from streams.events.headers import rfc3339
from streams.printing import printable
from streams.queries.standards.graph import Graph, RunEdge, RunNode

#: Attributes and their types, in the order in which they are written.
_OF_RUNS = {
    "kind": "string",
    "zone": "string",
    "policy_version": "string",
    "wearer": "string",
    "events": "long",
    "since": "string",
    "until": "string",
}
_OF_EDGES = {
    "operator": "string",
    "operator_version": "long",
    "directness": "string",
    "declassifier": "string",
    "role": "string",
    "edges": "long",
}
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'


def graphml(graph: Graph) -> Iterator[str]:
    """Parts of the file, in order. Of a run what is not known is left out.

    The `role` of an edge is the kind of its parent: as what it was taken.
    """
    yield _HEAD
    for target, attributes in (("node", _OF_RUNS), ("edge", _OF_EDGES)):
        for name, kind in attributes.items():
            yield f'<key id="{target}-{name}" for="{target}" attr.name="{name}" attr.type="{kind}"/>\n'
    yield '<graph id="lineage" edgedefault="directed">\n'
    for run in graph.runs.values():
        yield f"<node id={_quoted(run.run)}>{_data('node', _told(run))}</node>\n"
    for number, edge in enumerate(graph.edges):
        ends = f"source={_quoted(edge.parent)} target={_quoted(edge.child)}"
        yield f'<edge id="e{number}" {ends}>{_data("edge", _said_of(edge, graph))}</edge>\n'
    yield "</graph>\n</graphml>\n"


def _told(run: RunNode) -> dict[str, str | int]:
    times = {"since": rfc3339(run.t_first_ns), "until": rfc3339(run.t_last_ns)} if run.kind else {}
    return {
        "kind": run.kind,
        "zone": run.zone,
        "policy_version": run.policy_version,
        "wearer": run.wearer,
        "events": run.events,
        **times,
    }


def _said_of(edge: RunEdge, graph: Graph) -> dict[str, str | int]:
    return {
        "operator": edge.operator,
        "operator_version": edge.operator_version,
        "directness": edge.directness,
        "declassifier": edge.declassifier,
        "role": graph.runs[edge.parent].kind,
        "edges": edge.edges,
    }


def _data(target: str, values: dict[str, str | int]) -> str:
    return "".join(
        f'<data key="{target}-{name}">{escape(printable(str(value)))}</data>'
        for name, value in values.items()
        if value != ""
    )


def _quoted(text: str) -> str:
    return quoteattr(printable(text))
