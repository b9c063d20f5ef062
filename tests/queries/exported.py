"""What exports of standards are judged by: stored rows as single events, and readers of others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import networkx
from prov.model import ProvDerivation, ProvDocument
from referencing import Registry, Resource

from streams.queries.role import Role
from streams.queries.standards import writing
from streams.queries.standards.writing import Standard, write_standard
from streams.queries.store import Store
from tests.queries.oracle import node_id
from tests.snapshots.build import T0_NS, Row, edge, event, row, stream, tagged

HERE = Path(__file__).parent
HOUR_NS = 3600 * 10**9
#: A run of events, as an export names it, by each of the single events in it.
Runs = dict[tuple[str, str, int, int], str]


def runs_of(rows: list[Row]) -> Runs:
    """Names of runs by event, from rows of `events` as they were written."""
    named: Runs = {}
    for one in rows:
        numbers = [one["first"] + one["step"] * nth for nth in range(one["count"])]
        revision = f".{one['revision']}" if one["revision"] else ""
        name = f"{one['source']}/{one['stream']}/{numbers[0]}{revision}"
        if len(numbers) > 1:
            name += f"..{numbers[-1]}" + (f"+{one['step']}" if one["step"] > 1 else "")
        for number in numbers:
            named[one["source"], one["stream"], number, one["revision"]] = name
    return named


def singles(rows: list[Row]) -> Iterator[tuple[Row, tuple[str, str, int, int], tuple[str, str, int, int]]]:
    """Every single edge that rows of `edges` mean, with its row."""
    for one in rows:
        for nth in range(one["child_count"]):
            child = one["child_first"] + nth * one["child_step"]
            start = one["parent_first"] + nth * one["parent_step"]
            for parent in range(start, start + one["parent_width"]):
                yield (
                    one,
                    (one["child_source"], one["child_stream"], child, one["child_revision"]),
                    (one["parent_source"], one["parent_stream"], parent, one["parent_revision"]),
                )


def edges_of(epochs: list[dict[str, list[Row]]]) -> Counter[tuple[str, str, str, str]]:
    """How many single edges lie between two runs, by operator and directness."""
    named = runs_of([one for rows in epochs for one in rows.get("events", ())])
    return Counter(
        (
            named.get(child) or node_id(child),
            named.get(parent) or node_id(parent),
            one["operator"],
            one["directness"],
        )
        for rows in epochs
        for one, child, parent in singles(rows.get("edges", []))
    )


def export(path: Path | list[Path], standard: Standard, out: Path, role: str = "analyst") -> Path:
    with Store.open(path, Role(role, exporting=True)) as opened:  # type: ignore[arg-type]
        write_standard(opened, standard, out, f"export {standard} {out}", lambda _: None)
    return out


def in_graphml(path: Path) -> tuple[Any, Counter[tuple[str, str, str, str]]]:
    """The graph, and its edges as `edges_of` counts them."""
    graph = networkx.read_graphml(path)
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for parent, child, told in graph.edges(data=True):
        counted[child, parent, told["operator"], told.get("directness", "")] += told["edges"]
    return graph, counted


def in_prov(path: Path) -> tuple[ProvDocument, Counter[tuple[str, str, str, str]]]:
    document = ProvDocument.deserialize(source=str(path), format="json")
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for relation in document.get_records(ProvDerivation):
        told = {name.localpart: value for name, value in relation.attributes}
        operator = told["activity"].localpart.split("/")[0]
        key = told["generatedEntity"].localpart, told["usedEntity"].localpart, operator
        counted[*key, told["directness"]] += told["edges"]
    return document, counted


def events_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def registry() -> Registry[Any]:
    """The schemas of OpenLineage's specification, and that of our facets, under their own names."""
    files = [*(HERE / "openlineage").glob("*.json"), Path(writing.__file__).with_name("facets.json")]
    schemas = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return Registry().with_resources([(each["$id"], Resource.from_contents(each)) for each in schemas])


def check(value: Any, schema: str, known: Registry[Any]) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    assert {"uri", "date-time", "uuid"} <= set(checker.checkers)
    jsonschema.Draft202012Validator({"$ref": schema}, registry=known, format_checker=checker).validate(value)


def facets_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "_schemaURL" in value:
            yield value
        for inner in value.values():
            yield from facets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets_in(inner)


def day(hour: int) -> dict[str, list[Row]]:
    """Two devices that make the same things of different streams, and a model that learns from one."""
    at = 100 * hour
    voice = tagged("voice_query", "voice-assistant", wearer="w1")
    events = [event("g1", "imu", at + 20 * nth, 20, **tagged("imu", "public")) for nth in range(2)]
    events += [event("g2", "imu", at, 40, **tagged("imu", "public"))]
    events += [
        event(device, "activity", at, 2, step=20, **tagged("imu", "public") | {"kind": "activity"})
        for device in ("g1", "g2")
    ]
    edges = [
        edge(
            (device, "activity", at),
            (device, "imu", at),
            child_step=20,
            child_count=2,
            parent_step=20,
            parent_width=20,
            operator="activity",
            operator_version=1,
            directness="direct",
        )
        for device in ("g1", "g2")
    ]
    version = event("training", "intent-model", hour, **voice | {"kind": "model"})
    answer = event("g1", "answer", at, **voice | {"kind": "answer"})
    example = event("g1", "example", at, **voice | {"kind": "example"})
    model, learned = ("training", "intent-model", hour), ("g1", "example", at)
    how = {"directness": "direct", "operator_version": 1}
    edges += [
        edge(("g1", "answer", at), ("g1", "activity", at), operator="answer", **how),
        edge(learned, ("g1", "answer", at), operator="example", **how),
        edge(model, learned, operator="training", declassifier="model-training", **how),
    ]
    if hour > 1:
        edges.append(edge(("g1", "answer", at), (*model[:2], hour - 1), operator="answer", **how))
    trained = row(
        "models",
        source="training",
        stream="intent-model",
        version=hour,
        **{name: version[name] for name in ("zone", "label", "policy_version")},
    ) | {"trained_ns": T0_NS + hour * HOUR_NS}
    run = row("training_runs", version=hour, admitted=1, refused=2, manifest_digest="d" * 32, accuracy=0.5)
    streams = [stream(device, name) for device in ("g1", "g2") for name in ("imu",)]
    streams += [stream("g1", name, name, captured=False) for name in ("activity", "answer", "example")]
    streams += [stream("g2", "activity", "activity", captured=False)]
    streams += [stream("training", "intent-model", "model", captured=False)]
    decided = {
        name: answer[name] for name in ("source", "stream", "first", "zone", "label", "policy_version")
    }
    decision = row("decisions", **decided, sink="glasses.answers", verdict="allow", rule="sinks")
    return {
        "events": [*events, version, answer, example],
        "edges": edges,
        "models": [trained],
        "training_runs": [run],
        "streams": streams,
        "decisions": [decision],
    }


DAYS = [day(hour) for hour in (1, 2, 3)]
