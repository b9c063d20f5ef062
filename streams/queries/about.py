"""What the questions are made of: rows about one event or about a hop of a walk, lists of bounded length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams import limits
from streams.errors import InputError, MalformedError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, format_id
from streams.policy.stored import read_stored
from streams.queries.relation import Interval, Stream
from streams.queries.store import Store
from streams.queries.walk import Step

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
    """Say that the store holds no such event; to a role, that or that it is not shown it, in one sentence."""
    if store.sight is not None:
        return InputError(
            f"{event}: the role {store.sight.role} is shown no such event: {_held(store)} has none, or the "
            "policy does not show it to this role; who may see it asks with --role, and `sightline sql "
            '"FROM streams"` lists the streams'
        )
    return InputError(
        f"{unwritten(store, event)} If a record bears this id it is not ours, or it was written after that;"
        ' `sightline sql "FROM streams"` lists the streams'
    )


def unwritten(store: Store, event: EventId) -> str:
    """Say that no agent wrote an event, as far as the store knows, and how far that is."""
    return f"{event}: no agent wrote it: {_held(store)} has no such event."


def _held(store: Store) -> str:
    newest = store.query("newest_epoch").dicts()[0]
    below = ", ".join(f"{offset} of partition {partition}" for partition, offset in newest["offsets"].items())
    return (
        f"epoch {store.epoch} of {store.directory}, which holds what was written below offset {below or 0} "
        "of glasses.lineage,"
    )


def streams_seen(store: Store) -> dict[tuple[str, str], bool]:
    """Streams that the role is shown something of, and whether that is all events and all that was refused.

    Of those that it is shown in part nothing may be said about a number that it is not shown.
    """
    return {stream: not hidden for stream, (shown, hidden) in _judged(store).items() if shown}


def shows_absence(store: Store, event: EventId) -> bool:
    """Whether the role may be told that there is no such event: nothing that is hidden could be it."""
    judged = _judged(store)
    shown, hidden = judged.get((event.source, event.stream), (False, False))
    return (shown and not hidden) or not any(hidden for _, hidden in judged.values())


def _judged(store: Store) -> dict[tuple[str, str], tuple[bool, bool]]:
    """By stream whether the role is shown events of it, and whether anything of it is hidden."""
    found: dict[tuple[str, str], tuple[bool, bool]] = {}
    for row in store.query("sights").dicts():
        seen = store.sight is None or store.sight.sees(row, row["table_name"])
        shown, hidden = found.get((row["source"], row["stream"]), (False, False))
        events = seen and row["table_name"] == "events"
        found[row["source"], row["stream"]] = (shown or events, hidden or not seen)
    return found


def known(store: Store, identity: str) -> EventId:
    """Read the id of an event that the store holds; InputError says that it does not."""
    event = parsed(identity)
    if event_row(store, event) is None:
        raise unknown(store, event)
    return event


def start_of(event: EventId) -> Stream:
    """Stream of an event, as walks name it."""
    return event.source, event.stream, event.revision


def in_sight(store: Store, event: EventId) -> bool:
    """Whether the store may have an event that its role is shown, by the zones of its number."""
    if store.sight is None:
        return True
    stream = start_of(event)
    runs = store.lookup.zones({stream: (event.number, event.number)})[stream]
    rows = [dict(run.of) for run in runs]
    return bool(rows) and len(store.sift(rows, "events", counted=False)) == len(rows)


def event_row(store: Store, event: EventId) -> dict[str, Any] | None:
    """Row of `events` that holds an event; None where there is none, or none that the role is shown."""
    rows = _rows_with(store, "events", event)
    held = [
        row
        for row in rows
        if row["revision"] == event.revision and (event.number - row["first"]) % row["step"] == 0
    ]
    return next(iter(store.sift(held[:1], "events", counted=False)), None)


def rows_at(store: Store, table: str, event: EventId) -> list[dict[str, Any]]:
    """Rows of `decisions` or `rejected` about an event's number that are shown: they do not say the revision.

    What was rejected has none.
    """
    if table == "rejected" and event.revision:
        return []
    return store.sift(_rows_with(store, table, event), table, counted=False)


def _rows_with(store: Store, table: str, event: EventId) -> list[dict[str, Any]]:
    """Rows of a table whose runs may hold an event's number, of those segments that have it."""
    files = store.lookup.files(table, "own", event.source, event.stream, event.number, event.number)
    if not files:
        return []
    at = {"source": event.source, "stream": event.stream, "number": event.number}
    return store.query(f"{table}_at", at, files).dicts()


def refused_because(row: Mapping[str, Any]) -> str:
    """A sentence about a row of `rejected`: by which rule, why, where and when."""
    unread = row["outcome"] == "malformed"
    who = "nobody could read the batch that claims it, so it was" if unread else "it was"
    return (
        f"{who} refused, because {row['reason'] or 'a rule of the policy says so'} (rule {row['rule']}, "
        f"stage {row['stage']}, offset {row['offset']} of partition {row['partition']} of {row['topic']}, "
        f"{rfc3339(row['t_ns'])})"
    )


def step_rows(step: Step) -> list[dict[str, Any]]:
    """One row for each run of numbers that a hop found, with the zones of its events."""
    source, stream, revision = step.stream
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
            "zones": sorted({run.of["zone"] for run in step.zones if run.low <= last and run.high >= first}),
            "of": "/".join(step.origin[:2]),
            "operator": step.operator,
            "operator_version": step.operator_version,
            "directness": step.directness,
            "declassifier": step.declassifier,
        }
        for first, last in step.numbers
    ]


def models_met(store: Store, steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Model versions that a walk met and that the store's role is shown, by stream and version."""
    met = {
        (step.stream[:2], number)
        for step in steps
        if step.stream[:2] in store.models
        for low, high in step.numbers
        for number in range(low, high + 1)
    }
    rows = [
        store.models[stream][version] for stream, version in sorted(met) if version in store.models[stream]
    ]
    return [version_row(row) for row in store.sift(rows, "models")]


def version_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A model version as an answer tells of it."""
    told = {
        name: value for name, value in row.items() if name not in ("source", "stream", "label", "trained_ns")
    }
    return {
        "id": format_id(row["source"], row["stream"], row["version"]),
        **told,
        "trained": rfc3339(row["trained_ns"]),
    }


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
