"""Model versions in answers: whose examples they learned from, and how many answers they gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from streams import limits
from streams.events.headers import rfc3339
from streams.events.identity import format_id
from streams.queries.about import Named
from streams.queries.answers import MetModel, ModelVersion
from streams.queries.relation import Interval, Stream
from streams.queries.rows import ModelRow
from streams.queries.store import Store
from streams.queries.walk import Step, holds, judged, near, parents_of, subtract, union

VersionT = TypeVar("VersionT", bound=ModelVersion)
#: A model version: its stream and number.
Version = tuple[Named, int]


def version_of(row: ModelRow) -> Version:
    """Stream and number of a model version."""
    return (row.source, row.stream), row.version


def told_version(kind: Callable[..., VersionT], row: ModelRow, **more: object) -> VersionT:
    """Model version for an answer of type `kind`, with the fields `more` of that type."""
    return kind(
        id=format_id(row.source, row.stream, row.version),
        version=row.version,
        examples=row.examples,
        wearers=row.wearers,
        accuracy=row.accuracy,
        zone=row.zone,
        policy_version=row.policy_version,
        trained=rfc3339(row.trained_ns),
        **more,
    )


def rows_of(store: Store, versions: Iterable[Version]) -> list[ModelRow]:
    """Rows of model versions that the role may see, ordered by stream and version."""
    rows = [
        store.models[stream][number] for stream, number in sorted(versions) if number in store.models[stream]
    ]
    return store.sift(rows, "models")


def told_versions(
    kind: Callable[..., VersionT],
    store: Store,
    rows: Iterable[ModelRow],
    more: Callable[[Version], Mapping[str, object]],
) -> tuple[VersionT, ...]:
    """Model versions for an answer, with the wearers of their examples and the fields that `more` gives."""
    listed = [(version_of(row), row) for row in rows]
    wearers = whose(store, (version for version, _ in listed))
    return tuple(told_version(kind, row, whose=wearers[of], **more(of)) for of, row in listed)


def declined(store: Store) -> Mapping[int, str]:
    """Reason by version of the declined model versions; a store of before versions were compared has none."""
    return dict(store.query("declined").rows) if has_view(store, "promotions") else {}


def has_view(store: Store, name: str) -> bool:
    """Whether a store has a view; one that was written before there was one has not."""
    views = "SELECT count(*) FROM duckdb_views() WHERE view_name = $name AND NOT internal"
    [(count,)] = store.lookup.rows(views, {"name": name})
    return bool(count)


def models_met(store: Store, steps: Iterable[Step]) -> tuple[MetModel, ...]:
    """Model versions that a walk reached and the role may see, ordered by stream and version."""
    met = {
        (step.stream[:2], number)
        for step in steps
        if step.stream[:2] in store.models
        for low, high in step.numbers
        for number in range(low, high + 1)
    }
    return told_versions(MetModel, store, rows_of(store, met), lambda _: {})


def answers_given(store: Store, since: Mapping[Named, int]) -> Counter[Version]:
    """How many answers each model version gave, as far as the store's role may see them.

    `since` has the first version to count, by stream.
    """
    wanted = {(*stream, 0): [(first, limits.NUMBER_MAX)] for stream, first in since.items()}
    edges = [
        edge for edge in store.lookup.edges("children", wanted) if store.kinds.get(edge.child[:2]) == "answer"
    ]
    hidden: dict[Stream, list[Interval]] = {}
    if store.role_filter is not None:
        reached = {edge.child: (0, limits.NUMBER_MAX) for edge in edges}
        for stream, runs in store.lookup.zones(reached).items():
            shown, hidden[stream] = judged(store, runs)
            for run in shown:
                store.role_filter.note(run.row_class.policy_version, run.row_class.zone)
    return Counter(
        (edge.parent[:2], version)
        for edge in edges
        for number, version in edge.run.pairs()
        if not holds(hidden.get(edge.child, ()), number)
    )


def whose(store: Store, versions: Iterable[Version]) -> dict[Version, tuple[str, ...]]:
    """Wearers whose examples model versions learned from, as far as the role may see the examples."""
    asked: dict[Stream, list[Interval]] = {}
    for (source, stream), number in versions:
        asked.setdefault((source, stream, 0), []).append((number, number))
    wanted = {stream: union(numbers) for stream, numbers in asked.items()}
    parents: dict[Version, dict[Stream, list[Interval]]] = {
        (stream[:2], number): {} for stream, numbers in asked.items() for number, _ in numbers
    }
    reached: dict[Stream, Interval] = {}
    for edge in store.lookup.edges("parents", wanted):
        for number in edge.run.child:
            met = parents.get((edge.child[:2], number))
            if met is None or edge.child[2]:
                continue
            numbers = parents_of(edge.run, [(number, number)])
            met.setdefault(edge.parent, []).extend(numbers)
            low, high = reached.get(edge.parent, numbers[0])
            reached[edge.parent] = min(low, numbers[0][0]), max(high, numbers[-1][1])
    zones = {stream: judged(store, runs) for stream, runs in store.lookup.zones(reached).items()}
    wearers: dict[Version, tuple[str, ...]] = {}
    for version, streams in parents.items():
        names = set()
        for parent, numbers in streams.items():
            runs, hidden = zones[parent]
            shown = subtract(union(numbers), hidden)
            for run in runs:
                if run.row_class.wearer and near(shown, run.low, run.high):
                    names.add(run.row_class.wearer)
                    if store.role_filter is not None:
                        store.role_filter.note(run.row_class.policy_version, run.row_class.zone)
        wearers[version] = tuple(sorted(names))
    return wearers
