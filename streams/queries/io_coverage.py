"""The question `io-coverage`: of which share of all operations on data of events lineage is recorded."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from streams.errors import InputError
from streams.queries.answers import Answer, Bounded
from streams.queries.store import Store


class CoveredOperation(Struct, frozen=True):
    """An operation that reads or writes data of events, such as `assistant writes glasses.answers`.

    `linked` says whether what is written is linked to what it was made from, and `recorded_in` where. `sites`
    is the number of places in the code that do it. `observed` is what this store has recorded of it, as far
    as the role sees that (of a topic events, of the store's files epochs); UNSET where the store cannot know.
    `reason` says why it is not linked; UNSET if it is.
    """

    operation: str
    direction: str
    asset: str
    done_by: str
    linked: bool
    sites: int
    recorded_in: tuple[str, ...] = ()
    observed: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class IoCoverage(Answer, frozen=True, kw_only=True):
    """Of which share (`percent`) of the operations on data of events the link of writes to reads is recorded.

    The operations are those that the code of the store's writer declares. What is not linked comes first.
    """

    epoch: int
    percent: float
    declared: int
    linked: int
    observed: int
    operations: Bounded[CoveredOperation]


_DECLARED = (
    "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'store' AND table_name = 'io_coverage'"
)


def io_coverage(store: Store) -> IoCoverage:
    """Return which operations on data of events are recorded; `observed` counts those seen in this store.

    InputError if an earlier version of Sightline wrote the newest catalog, which then declares none.
    """
    if not store.lookup.rows(_DECLARED)[0][0]:
        raise InputError(
            f"{store.named}: found a catalog without io_coverage, as earlier versions of Sightline wrote "
            "it; expected one that declares what moves data. Every epoch that is published from now on has "
            "it: let `sightline snapshots` publish one, and ask again"
        )
    operations = [
        CoveredOperation(
            row["operation"],
            row["direction"],
            row["asset"],
            row["done_by"],
            row["linked"],
            row["sites"],
            tuple(row["recorded_in"]),
            UNSET if row["observed"] is None else row["observed"],
            row["reason"] or UNSET,
        )
        for row in store.shown("io_coverage").dicts()
    ]
    linked = sum(each.linked for each in operations)
    return IoCoverage(
        epoch=store.epoch,
        percent=round(100 * linked / len(operations), 1),
        declared=len(operations),
        linked=linked,
        observed=sum(each.observed is not UNSET and each.observed > 0 for each in operations),
        operations=Bounded.of(operations),
    )
