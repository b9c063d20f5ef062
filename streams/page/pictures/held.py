"""What a wearer permitted, and in which zones she was, over the time of her data."""

from __future__ import annotations

from collections.abc import Iterable

from streams.events.headers import rfc3339
from streams.page.drawing.timeline import Span, Spans, Timeline
from streams.page.drawing.zones import Looks
from streams.page.pictures.links import Links
from streams.page.pictures.statements import statement
from streams.queries.asking import OpenStore

#: Equal spans of time by which stays in zones are told.
SPANS = 120
_GIVEN = "given for "


def wearer_timeline(store: OpenStore, wearer: str, looks: Looks, links: Links) -> Timeline | None:
    """Return a wearer's consents by purpose and stays in zones, as the store's role sees them.

    Consents are those that decisions about her data depended on, from the first to the last such data. None
    if the role is shown no event of hers.
    """
    spans: dict[str, list[int]] = {}
    since_ns = until_ns = 0
    for row in store.sql(statement("stays")).to_dicts():
        if row["wearer"] == wearer:
            spans.setdefault(row["zone"], []).append(row["span"])
            since_ns, until_ns = row["since_ns"], row["until_ns"]
    if not spans:
        return None
    length = (until_ns - since_ns) / SPANS
    zones = sorted(spans, key=lambda zone: (-looks.places.get(zone, -1), zone))
    return Timeline(
        title=f"Consents of {wearer}, and zones of the data",
        description=(
            "A row for each purpose that was permitted, and for each zone that data was captured in, over "
            "the time of the data. The tables below say the same."
        ),
        rows=(
            *_consents(store, wearer),
            *(
                Spans(
                    word=zone,
                    zone=zone,
                    spans=tuple(
                        Span(
                            since_ns=since_ns + round(first * length),
                            until_ns=since_ns + round((last + 1) * length),
                            href=links.to("/search", wearer=wearer, zone=zone),
                            words=f"from {_clock(since_ns + round(first * length))}",
                        )
                        for first, last in _stretches(spans[zone])
                    ),
                )
                for zone in zones
            ),
        ),
        since_ns=since_ns,
        until_ns=until_ns,
        since=rfc3339(since_ns)[:19].replace("T", " ") + "Z",
        until=rfc3339(until_ns)[:19].replace("T", " ") + "Z",
    )


def _consents(store: OpenStore, wearer: str) -> Iterable[Spans]:
    """A row for each purpose that was permitted at any time, and one for the time without any consent."""
    by_purpose: dict[str, list[Span]] = {}
    for row in store.sql(statement("consents")).to_dicts():
        if row["wearer"] != wearer:
            continue
        state = row["consent_state"]
        given = state.startswith(_GIVEN)
        purposes = state.removeprefix(_GIVEN).split() if given else ["no consent"]
        for purpose in purposes:
            words = f"consent {row['consent']}" if given else state
            by_purpose.setdefault(purpose, []).append(
                Span(since_ns=row["since_ns"], until_ns=row["until_ns"], words=words, given=given)
            )
    for purpose, intervals in sorted(by_purpose.items()):
        yield Spans(word=purpose.rpartition(":")[2], spans=tuple(intervals))


def _stretches(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each unbroken row of numbers that ascend."""
    stretches: list[tuple[int, int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1] = (stretches[-1][0], number)
        else:
            stretches.append((number, number))
    return stretches


def _clock(at_ns: int) -> str:
    return rfc3339(at_ns)[11:19]
