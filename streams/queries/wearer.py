"""Questions about persons: what is held of a wearer, and whose examples a model learned from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.identity import NAME_PATTERN
from streams.queries.about import Answer, Named, bounded
from streams.queries.relation import Interval, Stream
from streams.queries.store import Store
from streams.queries.walk import judged, parents_of, subtract, union

#: A model version: its stream and number.
Version = tuple[Named, int]
_PARTS = ("streams", "zones", "sinks", "answers", "models", "refusals")


def wearer(store: Store, name: str) -> Answer:
    """Return what the store holds of a wearer, as far as the role is shown it.

    Those are her streams and zones, the sinks that her events went to or were kept from, the answers that she
    got and the model versions that gave them, her examples and the versions that learned from them, and what
    of hers was refused.

    InputError when `name` is no pseudonym, or the role is shown nothing of such a wearer.
    """
    if NAME_PATTERN.fullmatch(name) is None:
        raise InputError(
            "wearer: found another form, expected a pseudonym such as w1: lower-case letters, digits, hyphens"
        )
    found = {part: store.shown(f"wearer_{part}", {"wearer": name}).dicts() for part in _PARTS}
    if not any(found.values()):
        shown = "" if store.sight is None else f" that the role {store.sight.role} is shown"
        raise InputError(
            f"{name}: epoch {store.epoch} of {store.directory} has nothing of such a wearer{shown}; "
            "`sightline sql` can list those who are: column wearer of view events"
        )
    counts = dict.fromkeys(("answer", "example"), 0)
    for row in found["streams"]:
        if row["kind"] in counts:
            counts[row["kind"]] += row["events"]
    return {
        "wearer": name,
        "epoch": store.epoch,
        "events": sum(row["events"] for row in found["streams"]),
        "answers_given": counts["answer"],
        "examples": counts["example"],
        **{
            key: value
            for part, rows in found.items()
            for key, value in bounded(part, [_timed(row) for row in rows]).items()
        },
    }


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its times to be read by people."""
    return {
        name.removesuffix("_ns"): rfc3339(value) if name.endswith("_ns") else value
        for name, value in row.items()
    }


def whose(store: Store, versions: Iterable[Version]) -> dict[Version, list[str]]:
    """Wearers whose examples model versions learned from, of those events that the role is shown."""
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
    found: dict[Version, list[str]] = {}
    for version, streams in parents.items():
        names = set()
        for parent, numbers in streams.items():
            runs, hidden = zones[parent]
            shown = subtract(union(numbers), hidden)
            for run in runs:
                if run.of["wearer"] and any(low <= run.high and high >= run.low for low, high in shown):
                    names.add(run.of["wearer"])
                    if store.sight is not None:
                        store.sight.note(run.of["policy_version"], run.of["zone"])
        found[version] = sorted(names)
    return found
