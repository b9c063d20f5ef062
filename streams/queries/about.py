"""What the questions are made of: rows about one event or about a hop of a walk, lists of bounded length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams import limits
from streams.errors import InputError, MalformedError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, format_id
from streams.policy.stored import read_stored
from streams.queries.store import Store
from streams.queries.walk import Interval, Step, Stream

Answer = dict[str, Any]
#: Source and stream, whatever the revision.
Named = tuple[str, str]


def described(store: Store, policy_version: str, label: str) -> dict[str, str]:
    """A label in the words of the policy that gave it, as the store keeps it."""
    text = store.policies.get(policy_version)
    try:
        return read_stored(policy_version, text).describe(bytes.fromhex(label)) if text and label else {}
    except (InputError, ValueError, IndexError):
        return {}


def parsed(identity: str) -> EventId:
    """Read an id; InputError says what the form is."""
    try:
        return EventId.parse(identity)
    except MalformedError as error:
        raise InputError(str(error)) from None


def unknown(store: Store, event: EventId) -> InputError:
    """Say that the store holds no such event, or that a role is not shown it."""
    if store.sight is not None and store.sight.hidden:
        return InputError(
            f"{event}: its policy does not show it to the role {store.sight.role}; who may see it asks with"
            " --role"
        )
    return InputError(
        f"{unwritten(store, event)} If a record bears this id it is not ours, or it was written after that;"
        ' `sightline sql "FROM streams"` lists the streams'
    )


def unwritten(store: Store, event: EventId) -> str:
    """Say that no agent wrote an event, as far as the store knows, and how far that is."""
    newest = store.query("newest_epoch").dicts()[0]
    below = ", ".join(f"{offset} of partition {partition}" for partition, offset in newest["offsets"].items())
    return (
        f"{event}: no agent wrote it: epoch {store.epoch} of {store.directory}, which holds what was written"
        f" below offset {below or 0} of glasses.lineage, has no such event."
    )


def known(store: Store, identity: str) -> EventId:
    """Read the id of an event that the store holds; InputError says that it does not."""
    event = parsed(identity)
    if event_row(store, event, "zones_at") is None:
        raise unknown(store, event)
    return event


def event_row(store: Store, event: EventId, statement: str = "events_at") -> dict[str, Any] | None:
    """Row of `events` that holds an event, None where there is none; InputError if a role is not shown it."""
    files = store.files_with("events", "own", event.source, event.stream, event.number, event.number)
    if not files:
        return None
    rows = store.query(
        statement,
        {
            "files": files,
            "source": event.source,
            "stream": event.stream,
            "revision": event.revision,
            "low": event.number,
            "high": event.number,
        },
    ).dicts()
    row = next((row for row in rows if (event.number - row["first"]) % row["step"] == 0), None)
    if row is not None and not store.sift([row], "events"):
        raise unknown(store, event)
    return row


def rows_at(store: Store, table: str, event: EventId) -> list[dict[str, Any]]:
    """Rows of `decisions` or `rejected` about an event's number: they do not say the revision.

    What was rejected has none.
    """
    if table == "rejected" and event.revision:
        return []
    files = store.files_with(table, "own", event.source, event.stream, event.number, event.number)
    if not files:
        return []
    at = {"files": files, "source": event.source, "stream": event.stream, "number": event.number}
    return store.sift(store.query(f"{table}_at", at).dicts(), table)


def step_rows(store: Store, step: Step) -> list[dict[str, Any]]:
    """One row for each run of numbers that a hop found, with the zones of its events."""
    source, stream, revision = step.stream
    low, high = step.numbers[0][0], step.numbers[-1][1]
    files = store.files_with("events", "own", source, stream, low, high)
    runs = (
        store.query(
            "zones_at",
            {
                "files": files,
                "source": source,
                "stream": stream,
                "revision": revision,
                "low": low,
                "high": high,
            },
        ).dicts()
        if files
        else []
    )
    return [
        {
            "hop": step.hop,
            "id": format_id(source, stream, first, revision),
            "events": last - first + 1,
            "source": source,
            "stream": stream,
            "revision": revision,
            "first": first,
            "last": last,
            "zones": sorted(
                {
                    run["zone"]
                    for run in runs
                    if run["first"] <= last and run["first"] + run["step"] * (run["count"] - 1) >= first
                }
            ),
            "of": "/".join(step.origin[:2]),
            "operator": step.operator,
            "operator_version": step.operator_version,
            "directness": step.directness,
            "declassifier": step.declassifier,
        }
        for first, last in step.numbers
    ]


def models_of(store: Store, statement: str = "models") -> dict[Named, list[dict[str, Any]]]:
    """Versions by model stream, in order; with `generations`, also the answers that each gave."""
    models: dict[Named, list[dict[str, Any]]] = {}
    for row in store.sift(store.query(statement).dicts(), "models"):
        stream = (row.pop("source"), row.pop("stream"))
        trained_ns, _ = row.pop("trained_ns"), row.pop("label")
        models.setdefault(stream, []).append(
            {"id": format_id(*stream, row["version"]), **row, "trained": rfc3339(trained_ns)}
        )
    return models


def kinds_of(store: Store) -> dict[Named, str]:
    """Kind of every stream."""
    return {(source, stream): kind for source, stream, kind, _ in store.query("kinds").rows}


def ids_of(stream: Stream, numbers: Iterable[Interval]) -> list[str]:
    """Ids of the numbers of a stream, as many as an answer holds."""
    source, name, revision = stream
    ids: list[str] = []
    for low, high in numbers:
        room = max(limits.ANSWER_ROWS_MAX - len(ids), 0)
        ids += [format_id(source, name, number, revision) for number in range(low, min(high + 1, low + room))]
    return ids


def timed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its time to be read by people."""
    return {
        ("t" if name == "t_ns" else name): rfc3339(value) if name == "t_ns" else value
        for name, value in row.items()
    }


def bounded(name: str, rows: list[dict[str, Any]]) -> Answer:
    """A list as an answer holds it, and how many more there are."""
    return {name: rows[: limits.ANSWER_ROWS_MAX], f"{name}_more": max(len(rows) - limits.ANSWER_ROWS_MAX, 0)}
