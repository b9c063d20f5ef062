"""Which event somebody may have meant by an id of which there is nothing to show."""

from __future__ import annotations

from difflib import get_close_matches

from streams import limits
from streams.events.identity import EventId
from streams.queries.about import may_be_shown, streams_seen
from streams.queries.role import RoleFilter
from streams.queries.rows import StreamClass
from streams.queries.store import Store

#: How far from the number is looked, in turn: what is near stands in few files.
_REACHES = (1_000, 1_000_000, limits.NUMBER_MAX)


def nearest(store: Store, event: EventId, role_filter: RoleFilter) -> EventId | None:
    """An event with the nearest number in the stream of that name, or in the one with the most similar name.

    It is one that the role is shown, so the offer tells nothing of what is hidden; and none of a restricted
    zone, whose every read would have to be on record. None where there is no such stream or event.
    """
    streams = {"/".join(stream): stream for stream in streams_seen(store) if stream in store.kinds}
    wanted = f"{event.source}/{event.stream}"
    alike = [wanted] if wanted in streams else get_close_matches(wanted, sorted(streams), n=1)
    for name in alike:
        source, stream = streams[name]
        if offered := _in_stream(store, EventId(source, stream, event.number, event.revision), role_filter):
            return offered
    return None


def _in_stream(store: Store, event: EventId, role_filter: RoleFilter) -> EventId | None:
    shown = [
        " ".join((of.policy_version, of.zone, of.label, of.wearer))
        for of in (
            row.row_class for row in store.query("stream_classes").of(StreamClass) if _is_of(row, event)
        )
        if role_filter.shows(of, "events") and not role_filter.is_restricted(of.policy_version, of.zone)
    ]
    for reach in _REACHES if shown else ():
        low, high = max(event.number - reach, 0), min(event.number + reach, limits.NUMBER_MAX)
        if files := store.lookup.files("events", "own", event.source, event.stream, low, high):
            asked = {
                "source": event.source,
                "stream": event.stream,
                "number": event.number,
                "revision": event.revision,
                "shown": shown,
            }
            for number, revision in store.query("events_nearest", asked, files).rows:
                offered = EventId(event.source, event.stream, number, revision)
                return offered if may_be_shown(store, offered) else None
    return None


def _is_of(row: StreamClass, event: EventId) -> bool:
    return row.table_name == "events" and (row.source, row.stream) == (event.source, event.stream)
