"""Zone runs: which numbers of a stream are of one class, out of the rows of its events."""

from __future__ import annotations

#: What all events of a run have in common.
CLASS = ("policy_version", "zone", "label", "wearer", "consent")
_SAME = " AND ".join(f"{name} = lag({name}) OVER run" for name in CLASS)


def of_events(events: str, highest: str) -> str:
    """SELECT of the zone runs of an epoch's events: as few as there are.

    A run goes on over numbers that no event has, as those of derived streams, while they are above all that
    the store holds of the stream: nothing of another class can lie between. Among older numbers it ends
    where they do, so that of two runs over the same numbers the later is right.

    Parameters
    ----------
    events
        SELECT of rows of `events`.
    highest
        SELECT of source, stream, highest: what earlier epochs hold.
    """
    return (
        f"SELECT source, stream, revision, min(low) AS low, max(high) AS high, {', '.join(CLASS)}, "  # noqa: S608
        "max(epoch) AS epoch FROM (SELECT *, sum(begins) OVER run AS nth FROM (SELECT *, "
        f"CASE WHEN {_SAME} AND (low > highest OR low = lag(high) OVER run + 1) THEN 0 ELSE 1 END AS begins "
        'FROM (SELECT *, "first" AS low, "first" + step * ("count" - 1) AS high, '
        f"coalesce(highest, -1) AS highest FROM ({events}) LEFT JOIN ({highest}) USING (source, stream)) "
        "WINDOW run AS (PARTITION BY source, stream, revision ORDER BY low)) "
        "WINDOW run AS (PARTITION BY source, stream, revision ORDER BY low)) "
        f"GROUP BY source, stream, revision, nth, {', '.join(CLASS)}"
    )
