"""A finding is a sentence that counts and names what is wrong."""

from __future__ import annotations

from streams.ledger.runs import ByStream, named, size

_NAMED_MAX = 5


def find(findings: list[str], events: ByStream, fault: str) -> int:
    """Add a sentence about `events` with a fault, if there are any; return their number."""
    count = sum(size(pieces) for pieces in events.values())
    if count:
        names = named(events, _NAMED_MAX + 1)
        more = " …" if len(names) > _NAMED_MAX else ""
        findings.append(f"{count:,} events {fault}: {', '.join(names[:_NAMED_MAX])}{more}")
    return count
