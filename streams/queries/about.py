"""Helpers of several questions: rows about one event, and about one hop of a walk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TypeVar

from msgspec import Struct

from streams import limits
from streams.errors import InputError, MalformedError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, format_id
from streams.policy.stored import read_stored
from streams.queries.answers import ReachedRow, ToldDecision, ToldRejection
from streams.queries.relation import Interval, Stream
from streams.queries.role import SHOWN_TO
from streams.queries.rows import EventRow, Rows, StreamClass
from streams.queries.store import Store
from streams.queries.walk import Reached, Step, size, walk

StructT = TypeVar("StructT", bound=Struct)
#: Source and stream, without the revision.
Named = tuple[str, str]


def described(store: Store, policy_version: str, label: str) -> dict[str, str]:
    """Describe a label in words, with the text of its policy in the store."""
    text = store.policies.get(policy_version)
    try:
        return read_stored(policy_version, text).describe(bytes.fromhex(label)) if text and label else {}
    except (InputError, ValueError, IndexError):
        return {}


def parsed(identity: str) -> EventId:
    """Parse an id; InputError if it is malformed."""
    try:
        return EventId.parse(identity)
    except MalformedError as error:
        raise InputError(str(error)) from None


def unknown(store: Store, event: EventId) -> InputError:
    """Error for an event that the store does not have; a role gets the same sentence for a hidden event.

    That its retention is over is told to who may see what is over.
    """
    role = store.role_filter and store.role_filter.role.name
    if role is None or role in SHOWN_TO["expired"]:
        at = asdict(event)
        for expired_ns, events, low, high in store.query("expired_at", at).rows:
            when = (
                f"on {rfc3339(expired_ns)}"
                if expired_ns
                else "and leaves the files of the store within a day"
            )
            return InputError(
                f"{event}: expired {when}, when the retention of its label was over. The store has nothing "
                f"of it: its number is among those from {low} to {high}, of {events:,} events"
            )
    if store.role_filter is not None:
        # Only who asks for what is not there waits for what it takes to find out what may be meant.
        from streams.queries.nearest import nearest  # noqa: PLC0415

        meant = nearest(store, event, store.role_filter)
        offer = f"; the nearest event that it is shown is {meant}" if meant else ""
        return InputError(
            f"{event}: the role {store.role_filter.role} is shown no such event: {_held(store)} has none, or "
            "the policy does not show it to this role; who may see it asks with --role, and `sightline sql "
            f'"FROM streams"` lists the streams{offer}'
        )
    return InputError(
        f"{unwritten(store, event)} If a record bears this id it is not ours, or it was written after that;"
        ' `sightline sql "FROM streams"` lists the streams'
    )


def unwritten(store: Store, event: EventId) -> str:
    """Sentence that no agent wrote an event, with the offsets up to which the store knows this."""
    return f"{event}: no agent wrote it: {_held(store)} has no such event."


def _held(store: Store) -> str:
    offsets = store.newest.offsets
    below = ", ".join(f"{offset} of partition {partition}" for partition, offset in offsets.items())
    return f"{store.named}, which holds what was written below offset {below or 0} of glasses.lineage,"


def streams_seen(store: Store) -> dict[tuple[str, str], bool]:
    """Streams that the role may see something of, and whether it may see all of their events and rejections.

    For streams that the role may see in part, answers must not reveal anything about hidden numbers. A stream
    of which nothing was ever stored is seen whole or not at all.
    """
    return {stream: not hidden for stream, (shown, hidden) in _judged(store).items() if shown}


def shows_absence(store: Store, event: EventId) -> bool:
    """Whether the role may be told that an event does not exist: only if it could not be a hidden one."""
    judged = _judged(store)
    shown, hidden = judged.get((event.source, event.stream), (False, False))
    return (shown and not hidden) or not any(hidden for _, hidden in judged.values())


def _judged(store: Store) -> dict[tuple[str, str], tuple[bool, bool]]:
    """By stream: whether the role may see any of it, and whether any of it is hidden."""
    judged: dict[tuple[str, str], tuple[bool, bool]] = {}
    refused: set[tuple[str, str]] = set()
    for row in store.query("stream_classes").of(StreamClass):
        seen = store.role_filter is None or store.role_filter.shows(row.row_class, row.table_name)
        of = (row.source, row.stream)
        shown, hidden = judged.get(of, (False, False))
        judged[of] = (shown or (seen and row.table_name == "events"), hidden or not seen)
        if seen and of not in store.kinds:
            refused.add(of)
    # A stranger can name a wearer in a batch of any stream, and she must not learn by that which there are.
    if store.role_filter is None or store.role_filter.role.name != "wearer":
        judged |= {of: (True, False) for of in refused if not judged[of][1]}
    return judged


def known(store: Store, identity: str) -> EventId:
    """Parse the id of an event; InputError if the store does not have the event."""
    event = parsed(identity)
    if event_row(store, event) is None:
        raise unknown(store, event)
    return event


def start_of(event: EventId) -> Stream:
    """Stream of an event, with its revision, as walks need it."""
    return event.source, event.stream, event.revision


def may_be_shown(store: Store, event: EventId) -> bool:
    """Whether the role may see an event if it exists, judged by the zones of its number."""
    if store.role_filter is None:
        return True
    stream = start_of(event)
    runs = store.lookup.zones({stream: (event.number, event.number)})[stream]
    return bool(runs) and len(store.sift(runs, "events", counted=False)) == len(runs)


def asked_about(store: Store, identity: str) -> EventId:
    """Parse the id of an event; InputError unless the role may see it.

    The event may still not exist. The caller finds out by its row, its parents or its children.
    """
    event = parsed(identity)
    if not may_be_shown(store, event):
        raise unknown(store, event)
    return event


def event_row(store: Store, event: EventId) -> EventRow | None:
    """Row of `events` with an event; None if there is none that the role may see."""
    rows = _rows_with(store, "events", event).of(EventRow)
    held = [
        row for row in rows if row.revision == event.revision and (event.number - row.first) % row.step == 0
    ]
    return next(iter(store.sift(held[:1], "events", counted=False)), None)


def decisions_of(store: Store, event: EventId) -> list[ToldDecision]:
    """Visible decisions about an event's number; they apply to all revisions."""
    return store.sift(told(ToldDecision, _rows_with(store, "decisions", event)), "decisions", counted=False)


def rejections_of(store: Store, event: EventId) -> list[ToldRejection]:
    """Visible rejections of an event's number; corrections are never rejected."""
    if event.revision:
        return []
    return store.sift(told(ToldRejection, _rows_with(store, "rejected", event)), "rejected", counted=False)


def _rows_with(store: Store, table: str, event: EventId) -> Rows:
    """Rows of a table whose runs may contain an event's number."""
    files = store.lookup.files(table, "own", event.source, event.stream, event.number, event.number)
    if not files:
        return Rows((), [], 0)
    at = {"source": event.source, "stream": event.stream, "number": event.number}
    return store.query(f"{table}_at", at, files)


def refused_because(row: ToldRejection) -> str:
    """Sentence about a rejection: by which rule, why, where and when."""
    unread = row.outcome == "malformed"
    who = "nobody could read the batch that claims it, so it was" if unread else "it was"
    return (
        f"{who} refused, because {row.reason or 'a rule of the policy says so'} (rule {row.rule}, "
        f"stage {row.stage}, offset {row.offset} of partition {row.partition} of {row.topic}, {row.t})"
    )


def step_rows(step: Step) -> list[ReachedRow]:
    """One row for each run of numbers that a hop reached, with the zones of its events."""
    source, stream, revision = step.stream
    return [
        ReachedRow(
            hop=step.hop,
            id=format_id(source, stream, first, revision),
            events=last - first + 1,
            source=source,
            stream=stream,
            revision=revision,
            first=first,
            last=last,
            zones=tuple(
                sorted({run.row_class.zone for run in step.zones if run.low <= last and run.high >= first})
            ),
            of="/".join(step.origin[:2]),
            operator=step.operator,
            operator_version=step.operator_version,
            directness=step.directness,
            declassifier=step.declassifier,
        )
        for first, last in step.numbers
    ]


def direct_parents(store: Store, event: EventId) -> Iterator[Step]:
    """Direct parents of an event."""
    return walk(store, "parents", start_of(event), event.number, lambda _: True, hops_max=1)


def by_kind(store: Store, events: Reached) -> dict[str, int]:
    """Count events by kind; a correction counts in addition to the event that it corrects."""
    counts: Counter[str] = Counter()
    for stream, numbers in events.items():
        if numbers:
            counts[store.kinds.get(stream[:2], "unknown")] += size(numbers)
    return dict(sorted(counts.items()))


def ids_of(stream: Stream, numbers: Iterable[Interval]) -> list[str]:
    """Ids of the numbers of a stream, at most ANSWER_ROWS_MAX."""
    source, name, revision = stream
    ids: list[str] = []
    for low, high in numbers:
        room = max(limits.ANSWER_ROWS_MAX - len(ids), 0)
        ids += [format_id(source, name, number, revision) for number in range(low, min(high + 1, low + room))]
    return ids


def told(kind: type[StructT], rows: Rows) -> list[StructT]:
    """Convert rows to a type of answers. A field `t` for a column `t_ns` becomes a time in RFC 3339."""
    fields = kind.__struct_fields__
    names = [name if name in fields else name.removesuffix("_ns") for name in rows.columns]
    return [
        kind(
            **{
                name: value if name == column else rfc3339(value)
                for name, column, value in zip(names, rows.columns, row, strict=True)
            }
        )
        for row in rows.rows
    ]
