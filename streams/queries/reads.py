"""The question `reads`: who read what of restricted zones, and who exported data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from streams import limits
from streams.audit_log import AUDIT_LOG
from streams.errors import InputError, UnavailableError, reason
from streams.events.headers import rfc3339
from streams.queries.answers import Answer, Bounded
from streams.queries.role import Role
from streams.queries.store import Store


class Read(Struct, frozen=True):
    """One line of the audit log: time, role, user, question, and the restricted zones that it could read.

    `exported`: the answer was written to a file outside the store; such a line may have no zones, and
    `into` is the sink that it left into, UNSET for `export`. `epoch` is the state of the store that was read,
    `wrote` the digest of the file that was written, and `refused` that an export was refused and nothing
    written; UNSET where the line does not say. `erased` are the erasures whose marks stand in place of what
    role or question named.
    """

    t: str
    role: str
    user: str
    question: str
    zones: tuple[str, ...]
    exported: bool = False
    into: str | UnsetType = UNSET
    epoch: int | UnsetType = UNSET
    wrote: str | UnsetType = UNSET
    refused: bool | UnsetType = UNSET
    erased: tuple[int, ...] | UnsetType = UNSET


class ReadZone(Struct, frozen=True):
    """How often a user read from a zone under a role, and when first and last."""

    zone: str
    role: str
    user: str
    reads: int
    since: str
    until: str


class Reads(Answer, frozen=True, kw_only=True):
    """Who read what of restricted zones, and who exported data.

    `reads` counts lines of the audit log, `exports` those that exported; `latest` is newest first,
    `unreadable` counts malformed lines. A statement is recorded with every restricted zone
    that it could have read.
    """

    epoch: int
    reads: int
    exports: int
    unreadable: int
    by_zone: Bounded[ReadZone]
    latest: Bounded[Read]


_READ = msgspec.json.Decoder(Read)


def reads(store: Store, *, zone: str = "", user: str = "", since_ns: int = 0) -> Reads:
    """Return who read what of restricted zones, and who exported data, from the store's audit log.

    Parameters
    ----------
    zone, user
        Only reads of this zone, by this user; empty means all.
    since_ns
        Only reads from this time on; nanoseconds since the Unix epoch.

    Raises
    ------
    InputError
        The role is not the privacy officer; the audit log is personal data too.
    UnavailableError
        The log exists and cannot be read.
    """
    if store.role_filter is not None and store.role_filter.role != Role("privacy-officer"):
        raise InputError(
            f"reads: the role {store.role_filter.role} is not shown who read what, which is about people "
            "too; the privacy officer is (--role privacy-officer)"
        )
    since = rfc3339(since_ns)
    logged, unreadable = logged_reads(store)
    kept = [
        read
        for read in logged
        if (not zone or zone in read.zones) and (not user or read.user == user) and since <= read.t
    ]
    by_zone: dict[tuple[str, str, str], list[str]] = {}
    for read in kept:
        for name in read.zones:
            if not zone or name == zone:
                by_zone.setdefault((name, read.role, read.user), []).append(read.t)
    rows = [
        ReadZone(*who, reads=len(times), since=min(times), until=max(times))
        for who, times in sorted(by_zone.items())
    ]
    kept.sort(key=lambda read: read.t, reverse=True)
    return Reads(
        epoch=store.epoch,
        reads=len(kept),
        exports=sum(read.exported for read in kept),
        unreadable=unreadable,
        by_zone=Bounded.of(rows),
        latest=Bounded.of(kept),
    )


def logged_reads(store: Store) -> tuple[list[Read], int]:
    """Lines of the audit log up to the moment that the store answers as of, and how many are malformed.

    UnavailableError if the log exists and cannot be read.
    """
    # All times in the log have the same form, so they can be compared as texts.
    until = rfc3339(store.newest.published_ns if store.is_past else limits.TIME_NS_MAX)
    kept: list[Read] = []
    unreadable = 0
    for line in _lines(store):
        try:
            read = _READ.decode(line)
        except msgspec.DecodeError:
            unreadable += 1
            continue
        if read.t <= until:
            kept.append(read)
    return kept, unreadable


def _lines(store: Store) -> Iterable[bytes]:
    """Lines of the audit log; a read of several stores is in the log of each, and counts once."""
    if len(store.parts) == 1:
        return _lines_in(store.parts[0].directory / AUDIT_LOG)
    return dict.fromkeys(line for part in store.parts for line in _lines_in(part.directory / AUDIT_LOG))


def _lines_in(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(
            f"{path}: the audit log cannot be read ({reason(error)}); make it readable for who asks"
        ) from None
