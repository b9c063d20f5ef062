"""When a wearer was at a place, and what a store holds of that: what an erasure of the place would take."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa

from streams import limits
from streams.consent.erased import ErasedPlace, ErasedTime, with_erased
from streams.errors import InputError
from streams.lineage.division import PERSONAL
from streams.lineage.kept import staying
from streams.lineage.stays import looks, stays_at, wearers_at
from streams.queries.models import has_view
from streams.queries.own import may_ask
from streams.queries.own_rows import OwnRows, origin_of
from streams.queries.role import Role
from streams.queries.store import Store


def stays_of(store: Store, wearer: str, where: ErasedPlace, now_ns: int) -> tuple[ErasedTime, ...]:
    """When a wearer was at a place, within a time; errors of the role as of `own`.

    InputError if the wearer was never seen there in that time, with the places where the wearer was, or more
    often than one erasure can state.
    """
    may_ask(None if store.role_filter is None else store.role_filter.role, wearer)
    looked = _looks(store, wearer)
    times = _stays(looked, where, now_ns)
    if not times:
        places = sorted(set(looked.column("place").to_pylist()))
        raise InputError(
            f"place {where.place}: found no stay of {wearer} there{_within(where)}, expected one of "
            f"{', '.join(places) or 'none, as nothing of this wearer is stored'}; nothing was changed"
        )
    return times


def may_look_for_all(role: Role | None) -> None:
    """InputError unless a role may ask who was at a place."""
    if role is not None and role.name != "privacy-officer":
        raise InputError(
            f"role: the role {role} may not ask who was at a place, expected privacy-officer; name it with "
            "--role"
        )


def stays_of_all(store: Store, where: ErasedPlace, now_ns: int) -> dict[str, tuple[ErasedTime, ...]]:
    """The stays of everybody who was at a place within a time, by wearer, for the privacy officer.

    InputError if another role asks, or if somebody was there more often than one erasure can state.
    """
    may_look_for_all(None if store.role_filter is None else store.role_filter.role)
    with closing(store.trusted) as connection, store.lookup.reading():
        wearers = wearers_at(connection, {"decisions": _lasting(store, "decisions")}, where.place)
    by_wearer = {wearer: _stays(_looks(store, wearer), where, now_ns) for wearer in wearers}
    return {wearer: times for wearer, times in by_wearer.items() if times}


def _looks(store: Store, wearer: str) -> pa.Table:
    with closing(store.trusted) as connection, store.lookup.reading():
        rows = {table: _lasting(store, table) for table in ("decisions", "events")}
        return looks(connection, rows, wearer)


def _lasting(store: Store, table: str) -> str:
    """FROM clause for the rows of a table that are not over: nobody is told where somebody was by others."""
    every = origin_of(store, table)
    # A catalog of before retention does not say what is over.
    if not has_view(store, "over_classes"):
        return every
    return f"(SELECT * EXCLUDE (over_key) FROM {staying(table, every, 'store.main.keeping')})"  # noqa: S608 - names of ours


def _stays(looked: pa.Table, where: ErasedPlace, now_ns: int) -> tuple[ErasedTime, ...]:
    times = stays_at(looked, where)
    if len(times) > limits.ERASED_SPANS_MAX:
        raise InputError(
            f"place {where.place}: found {len(times):,} stays, expected at most {limits.ERASED_SPANS_MAX} in "
            f"one erasure; erase them in parts: place {where.place} from TIME until TIME"
        )
    newest_ns = max(looked.column("high").to_pylist(), default=0)
    if times and times[-1].until_ns == newest_ns >= now_ns - limits.ERASED_STAY_S * 1_000_000_000:
        # The wearer is there now: what comes until the statement is of the same stay.
        times = with_erased(times, ErasedTime(newest_ns, where.time.until_ns))
    return times


def rows_in(store: Store, wearer: str, times: tuple[ErasedTime, ...]) -> dict[str, int]:
    """How many rows of each table an erasure of these stays would take, or a part of them."""
    taken = OwnRows(store, wearer, times, words=False).taken
    return {table: len(taken[table]) for table in sorted(PERSONAL) if len(taken[table])}


def _within(where: ErasedPlace) -> str:
    return "" if where.time == ErasedTime(0, limits.TIME_NS_MAX) else " in that time"
