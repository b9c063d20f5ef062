"""Texts of lineage tables that name wearers or events: what of them is of selected wearers, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from streams.consent.erased import ErasedTime
from streams.errors import MalformedError
from streams.events.identity import EventId
from streams.lineage.ranges import Ranges
from streams.lineage.tables import NO_EXAMPLE


class Chosen(Protocol):
    """Some events: their devices, and their numbers by (source, stream, revision)."""

    @property
    def sources(self) -> frozenset[str]:
        """The devices."""

    @property
    def exact(self) -> Ranges:
        """The numbers."""


def statements(times: Mapping[str, Sequence[ErasedTime]], value: str) -> tuple[str, str]:
    """A consent take-up without what the wearers said in their times, and with nothing else.

    The second text is empty if they said nothing in it; then the first is the value as it was.
    """
    listed = orjson.loads(value)
    begin = 1 if listed and isinstance(listed[0], int) else 0
    kept, taken = list[Any](), list[Any]()
    for row in listed[begin:]:
        (taken if _is_said_by(times, row) else kept).append(row)
    if not taken:
        return value, ""
    return orjson.dumps([*listed[:begin], *kept]).decode(), orjson.dumps([*listed[:begin], *taken]).decode()


def _is_said_by(times: Mapping[str, Sequence[ErasedTime]], row: Any) -> bool:
    """Whether a statement names one of the wearers and is of the time; what has no time is of before."""
    if not isinstance(row, list) or not row or not isinstance(row[0], str) or row[0] not in times:
        return False
    at_ns = row[1].get("at_ns", 0) if row[1:] and isinstance(row[1], dict) else 0
    return any(each.has(at_ns, at_ns) for each in times[row[0]])


def examples(selection: Chosen, value: str) -> tuple[str, str]:
    """An example order with NO_EXAMPLE in place of selected ids, and those alone, as `statements` does."""
    ids = value.split(" ")
    gone = frozenset(text for text in ids if is_selected(selection, text))
    if not gone:
        return value, ""
    kept = " ".join(NO_EXAMPLE if text in gone else text for text in ids)
    return kept, " ".join(text for text in ids if text in gone)


def is_selected(selection: Chosen, text: str) -> bool:
    """Whether a text is the id of a selected event."""
    try:
        event = EventId.parse(text)
    except MalformedError:
        return False
    key = (event.source, event.stream, event.revision)
    return event.source in selection.sources and bool(selection.exact.inside(key, event.number, 1, 1))
