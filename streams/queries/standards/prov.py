"""W3C PROV as PROV-JSON: runs are entities, what an operator made of them once is an activity.

PROV knows no cycle: what is derived is generated after what it is derived from. The loop of the pipeline
has none either, since each version of a model is an entity of its own; that they are versions of one model
says `specializationOf`. Each edge between runs is one `wasDerivedFrom`, and no other is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from streams.events.headers import rfc3339
from streams.queries.standards.graph import Graph, RunEdge, RunNode

_TYPE = "prov:QUALIFIED_NAME"
_MODEL = "model"


def prov_json(graph: Graph, store_id: str) -> Iterator[str]:
    """Parts of the file, in order; names of runs are those of the store `store_id`."""
    ours = f"urn:sightline:{store_id}:"
    prefixes = {"run": f"{ours}run:", "act": f"{ours}activity:", "sightline": "urn:sightline:"}
    yield f'{{"prefix":{_json(prefixes)}'
    models = {run.run: run.run.rpartition("/")[0] for run in graph.runs.values() if run.kind == _MODEL}
    yield from _section("entity", _entities(graph, models))
    activities = {_activity(edge): edge for edge in graph.edges}
    yield from _section("activity", ((key, _made_by(edge)) for key, edge in activities.items()))
    yield from _section(
        "wasGeneratedBy",
        _numbered(
            "g",
            ({"prov:entity": f"run:{edge.child}", "prov:activity": key} for key, edge in activities.items()),
        ),
    )
    yield from _section("used", _numbered("u", _used(graph)))
    yield from _section("wasDerivedFrom", _numbered("d", map(_derived, graph.edges)))
    yield from _section(
        "specializationOf",
        _numbered(
            "s",
            (
                {"prov:specificEntity": f"run:{version}", "prov:generalEntity": f"run:{model}"}
                for version, model in models.items()
            ),
        ),
    )
    yield "}\n"


def _section(name: str, members: Iterator[tuple[str, Mapping[str, object]]]) -> Iterator[str]:
    """A member of the document's object; left out where it would be empty."""
    before = f',\n"{name}":{{'
    for key, value in members:
        yield f"{before}\n{_json(key)}:{_json(value)}"
        before = ","
    if before == ",":
        yield "\n}"


def _numbered(
    letter: str, relations: Iterator[Mapping[str, object]]
) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Relations need an identifier each that nobody refers to."""
    for number, relation in enumerate(relations):
        yield f"_:{letter}{number}", relation


def _entities(graph: Graph, models: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name in dict.fromkeys(models.values()):
        yield f"run:{name}", {"prov:type": {"$": "sightline:Model", "type": _TYPE}}
    for run in graph.runs.values():
        yield f"run:{run.run}", _told(run)


def _told(run: RunNode) -> dict[str, object]:
    told: dict[str, object] = {
        "prov:type": {
            "$": "sightline:ModelVersion" if run.kind == _MODEL else "sightline:Events",
            "type": _TYPE,
        },
        "sightline:events": run.events,
    }
    if run.kind:
        told |= {
            "sightline:kind": run.kind,
            "sightline:zone": run.zone,
            "sightline:policyVersion": run.policy_version,
            "sightline:since": _time(run.t_first_ns),
            "sightline:until": _time(run.t_last_ns),
        }
    if run.wearer:
        told["sightline:wearer"] = run.wearer
    return told


def _time(t_ns: int) -> dict[str, str]:
    return {"$": rfc3339(t_ns), "type": "xsd:dateTime"}


def _activity(edge: RunEdge) -> str:
    """An operator makes a run of events once."""
    return f"act:{edge.operator}/{edge.operator_version}/{edge.child}"


def _made_by(edge: RunEdge) -> dict[str, object]:
    return {
        "prov:type": {"$": f"sightline:{edge.operator}", "type": _TYPE},
        "sightline:operatorVersion": edge.operator_version,
    }


def _used(graph: Graph) -> Iterator[dict[str, object]]:
    """What each activity read, once, and as what."""
    for activity, parent in dict.fromkeys((_activity(edge), edge.parent) for edge in graph.edges):
        used: dict[str, object] = {"prov:activity": activity, "prov:entity": f"run:{parent}"}
        if kind := graph.runs[parent].kind:
            used["prov:role"] = kind
        yield used


def _derived(edge: RunEdge) -> dict[str, object]:
    derived: dict[str, object] = {
        "prov:generatedEntity": f"run:{edge.child}",
        "prov:usedEntity": f"run:{edge.parent}",
        "prov:activity": _activity(edge),
        "sightline:directness": edge.directness,
        "sightline:edges": edge.edges,
    }
    if edge.declassifier:
        derived["sightline:declassifier"] = edge.declassifier
    return derived


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
