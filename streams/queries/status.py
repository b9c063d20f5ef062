"""Counts of what the published store holds.

They are updated incrementally, so that a status every second does not cost more in a large store.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from streams.queries.store import Store

_EVENTS = """
SELECT coalesce(sum("count") FILTER (WHERE topic = 'glasses.captured'), 0)::BIGINT AS events,
       coalesce(sum("count") FILTER (WHERE topic = 'glasses.derived'), 0)::BIGINT AS derived,
       coalesce(sum("count") FILTER (WHERE kind = 'answer'), 0)::BIGINT AS answers,
       coalesce(sum("count") FILTER (WHERE kind = 'example' AND topic <> ''), 0)::BIGINT AS examples,
       (SELECT coalesce(sum("count"), 0)::BIGINT FROM rejected
        WHERE stage = 'zones' AND outcome <> 'repeated' AND epoch > {after:d}) AS rejected
FROM events WHERE epoch > {after:d}"""
_ZONES = """
SELECT zone, sum("count")::BIGINT FROM events
WHERE topic = 'glasses.captured' AND epoch > {after:d} GROUP BY zone"""
_VERDICTS = """SELECT verdict, sum("count")::BIGINT FROM decisions WHERE epoch > {after:d} GROUP BY verdict"""
_SEEN = """
SELECT "partition", max("offset") + 1 FROM (
    SELECT "partition", "offset" FROM events WHERE topic = 'glasses.captured' AND epoch > {after:d}
    UNION ALL SELECT "partition", "offset" FROM rejected
    WHERE topic = 'glasses.captured' AND epoch > {after:d}) GROUP BY ALL"""
_MODEL = "SELECT version, accuracy FROM models WHERE epoch > {after:d} ORDER BY version DESC LIMIT 1"
_PUBLISHED = "SELECT published_ns FROM epochs ORDER BY epoch DESC LIMIT 1"


@dataclass(slots=True)
class Status:
    """Counts of a store's newest epoch; `read` brings them up to date.

    `totals` are in events: events (captured ones), derived, answers, examples, rejected (by the zones stage,
    repeats aside); `zones` and `verdicts` are events by name; `seen` is the next offset of `glasses.captured`
    by partition; `model`, `accuracy` those of the newest version.
    """

    store: Path
    epoch: int = 0
    published_ns: int = 0
    model: int = 0
    accuracy: float = 0.0
    totals: Counter[str] = field(default_factory=Counter)
    zones: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    seen: dict[int, int] = field(default_factory=dict)

    def read(self) -> bool:
        """Add what was published since the last call; False if nothing was.

        UnavailableError while there is no epoch.
        """
        with Store.open(self.store) as store:
            after = self.epoch
            if store.epoch == after:
                return False
            self.totals.update(store.sql(_EVENTS.format(after=after)).dicts()[0])
            self.zones.update(dict(store.sql(_ZONES.format(after=after)).rows))
            self.verdicts.update(dict(store.sql(_VERDICTS.format(after=after)).rows))
            self.seen.update(
                {
                    partition: max(offset, self.seen.get(partition, 0))
                    for partition, offset in store.sql(_SEEN.format(after=after)).rows
                }
            )
            for version, accuracy in store.sql(_MODEL.format(after=after)).rows:
                self.model, self.accuracy = version, accuracy
            self.published_ns = store.sql(_PUBLISHED).rows[0][0]
            self.epoch = store.epoch
        return True
