"""Queries for the stored rows that new rows are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from streams import limits
from streams.errors import InputError
from streams.policy.label import NATURES
from streams.policy.policy import Policy
from streams.policy.stored import read_stored
from streams.policy.vocabulary import LISTS
from streams.quoting import quoted
from streams.snapshots.epochs.hot import Hot
from streams.snapshots.rows.poll import Mask, Numbers

Stream = tuple[str, str]
#: Source, stream and revision, within which the numbers of events are unique.
Numbered = tuple[str, str, int]
_POLICIES_KEPT_MAX = 64
_BATCH_ROWS = 100_000
#: Columns of `vocabularies` in a catalog: a policy version, and lists.
_WORDS = pa.schema(
    [
        ("policy_version", pa.string()),
        *((name, pa.list_(pa.string())) for name in (*LISTS, "retentions", "natures")),
        ("retention_days", pa.list_(pa.int32())),
    ]
)
_LAST = '"first" + step * ("count" - 1)'
_EVENT = f'source, stream, revision, "first", {_LAST} AS last, "partition"'
_OVER = "source, stream, revision, low, high"
_EDGE = (
    "child_source, child_stream, child_revision, child_first, child_step, child_count, parent_source, "
    "parent_stream, parent_revision, parent_first, parent_step, parent_width"
)


class Lookup:
    """Looks up waiting rows and segments; frequent results are cached, within bounds."""

    def __init__(self, hot: Hot) -> None:
        self._hot = hot
        self._policies: dict[str, Policy] = {}
        self._words: dict[str, dict[str, object]] = {}
        self._highest: dict[Stream, int] = {}
        #: Highest number of each stream that was over and has left.
        self._over: dict[Stream, int] = {}

    def forget(self) -> None:
        """Clear the cache if it is too large; to be called between two polls."""
        for cached in (self._highest, self._over):
            if len(cached) > limits.STREAMS_KNOWN_MAX:
                cached.clear()

    def policies(self, versions: Iterable[str], texts: Mapping[str, str]) -> dict[str, Policy]:
        """Policies of `versions` whose text is in `texts` or in the store; other versions are left out."""
        wanted = sorted(set(versions))
        if len(self._policies) + len(wanted) > _POLICIES_KEPT_MAX:
            self._policies.clear()
        lacking = [version for version in wanted if version not in self._policies]
        known_texts = {version: texts[version] for version in lacking if version in texts}
        asked = [version for version in lacking if version not in known_texts]
        if asked:
            known_texts |= dict(
                self._hot.connection.execute(
                    f"SELECT DISTINCT version, text FROM ({self._stored('policies', 'version, text')}) "  # noqa: S608
                    "WHERE list_contains(?, version) AND left(sha256(text), 16) = version",
                    [asked],
                ).fetchall()
            )
        for version, text in known_texts.items():
            try:
                self._policies[version] = read_stored(version, text)
            except InputError:
                continue
        return {version: self._policies[version] for version in wanted if version in self._policies}

    def vocabularies(self) -> pa.Table:
        """Words of each policy that a class of rows belongs to, one row per version.

        Versions without a text in the store are left out.
        """
        lacking = {version for version, _, _ in self._hot.classes} - self._words.keys()
        for version, policy in (self.policies(lacking, {}) if lacking else {}).items():
            words = policy.vocabulary
            days = [min(kept, limits.RETENTION_DAYS_TOLD_MAX) for kept in words.retention_days.values()]
            self._words[version] = {
                "policy_version": version,
                **{name: getattr(words, name) for name in LISTS},
                "retentions": list(words.retention_days),
                "retention_days": days,
                "natures": NATURES,
            }
        return pa.Table.from_pylist([*self._words.values()], _WORDS)

    def highest(self, streams: Iterable[Stream]) -> dict[Stream, int]:
        """A number that no event of each stream exceeds, in any revision; -1 for a stream without events.

        Cached results make it higher than the highest stored number at times, never lower.
        """
        wanted = set(streams)
        lacking = sorted(wanted - self._highest.keys())
        if lacking:
            sources, names = zip(*lacking, strict=True)
            with self._hot.incoming(pa.table({"source": sources, "stream": names})):
                rows = self._hot.connection.execute(
                    f"SELECT source, stream, max(last) FROM (SELECT source, stream, {_LAST} AS last "  # noqa: S608 - constants
                    f"FROM {self._hot.waiting('events')} SEMI JOIN incoming USING (source, stream) UNION ALL "
                    "SELECT source, stream, highest FROM spans SEMI JOIN incoming "
                    "USING (source, stream) WHERE table_name IN ('events', 'expired')) "
                    "GROUP BY ALL"
                ).fetchall()
            self._highest |= dict.fromkeys(lacking, -1)
            self._highest |= {(source, stream): last for source, stream, last in rows}
        return {stream: self._highest[stream] for stream in wanted}

    def over(self, reach: Mapping[Stream, tuple[int, int]]) -> list[tuple[str, str, int, int, int]]:
        """Runs (source, stream, revision, low, high) of what was over and has left, that meet given numbers.

        `reach` has the lowest and the highest number by stream. What left is older than nearly all that
        comes, so no file is read for most.
        """
        if lacking := sorted(reach.keys() - self._over.keys()):
            sources, names = zip(*lacking, strict=True)
            with self._hot.incoming(pa.table({"source": sources, "stream": names})):
                rows = self._hot.connection.execute(
                    "SELECT source, stream, max(highest) FROM spans SEMI JOIN incoming "
                    "USING (source, stream) WHERE table_name = 'expired' GROUP BY ALL"
                ).fetchall()
            self._over |= dict.fromkeys(lacking, -1)
            self._over |= {(source, stream): last for source, stream, last in rows}
        asked = [(*stream, *of) for stream, of in reach.items() if of[0] <= self._over[stream]]
        if not asked:
            return []
        columns = zip(("source", "stream", "lowest", "highest"), zip(*asked, strict=True), strict=True)
        with self._hot.incoming(pa.table(dict(columns))):
            runs: list[tuple[str, str, int, int, int]] = self._hot.connection.execute(
                "SELECT o.source, o.stream, revision, low, high FROM "  # noqa: S608 - names of ours
                f"({self._stored('expired', _OVER, 'own')}) o JOIN incoming i "
                "ON o.source = i.source AND o.stream = i.stream AND low <= highest AND high >= lowest"
            ).fetchall()
        return runs

    def passed(self) -> None:
        """Note that more was over and has left."""
        self._over.clear()

    def reached(self, highest: Iterable[tuple[Stream, int]]) -> None:
        """Note the highest numbers of rows that will be stored next."""
        for stream, last in highest:
            if last > self._highest.get(stream, last):
                self._highest[stream] = last

    def taken(self, streams: Sequence[Numbered], of: Numbers, low: Numbers, high: Numbers) -> Mask:
        """Which intervals contain the number of a stored event of the same revision.

        `of` is the index of each interval's stream in `streams`; intervals of one stream must not overlap.
        """
        is_taken = np.zeros(len(of), bool)
        order = np.lexsort((low, of))
        of, low, high = of[order], low[order], high[order]
        ends = np.searchsorted(of, np.arange(len(streams) + 1))
        asked = pa.table(
            {
                "position": np.arange(len(streams)),
                "source": [source for source, _, _ in streams],
                "stream": [stream for _, stream, _ in streams],
                "revision": pa.array([revision for _, _, revision in streams], pa.int64()),
                "lowest": low[ends[:-1]],
                "highest": high[ends[1:] - 1],
            }
        )
        with self._hot.incoming(asked):
            batches = self._hot.connection.sql(
                "SELECT position, stored.first, stored.last FROM incoming JOIN "  # noqa: S608 - names of ours
                f"({self._stored('events', _EVENT, 'own')}) stored USING (source, stream, revision) "
                "WHERE stored.last >= incoming.lowest AND stored.first <= incoming.highest"
            ).to_arrow_reader(_BATCH_ROWS)
            for batch in batches:
                position, first, last = (batch.column(at).to_numpy() for at in range(3))
                for place in np.unique(position).tolist():
                    here, rows = slice(ends[place], ends[place + 1]), position == place
                    begin = np.searchsorted(high[here], first[rows], "left")
                    end = np.searchsorted(low[here], last[rows], "right")
                    covered = np.zeros(ends[place + 1] - ends[place] + 1, np.int64)
                    np.add.at(covered, begin[begin < end], 1)
                    np.add.at(covered, end[begin < end], -1)
                    is_taken[here] |= np.cumsum(covered)[:-1] > 0
        result = np.zeros(len(order), bool)
        result[order] = is_taken
        return result

    def written(self, children: pa.Table) -> Mask:
        """Which children of edges are stored events of the same partition that do not have those parents yet.

        `children` has child_source, child_stream, child_revision, number, partition, and their parents as
        parent_source, parent_stream, parent_revision, low and high.
        """
        asked = children.append_column("row", pa.array(np.arange(len(children))))
        spans = asked.group_by(["child_source", "child_stream"]).aggregate(
            [("number", "min"), ("number", "max")]
        )
        with self._hot.incoming(spans.rename_columns(["source", "stream", "lowest", "highest"])):
            events = self._stored("events", _EVENT, "own")
            edges = self._stored("edges", _EDGE, "child")
        with self._hot.incoming(asked):
            rows = self._hot.connection.execute(
                "SELECT DISTINCT a.row FROM incoming a "  # noqa: S608 - names of ours
                f"SEMI JOIN ({events}) e ON a.child_source = e.source AND a.child_stream = e.stream "
                'AND a.child_revision = e.revision AND a.number = e.first AND a."partition" = e."partition" '
                f"ANTI JOIN ({edges}) s ON a.child_source = s.child_source "
                "AND a.child_stream = s.child_stream AND a.child_revision = s.child_revision "
                "AND a.parent_source = s.parent_source AND a.parent_stream = s.parent_stream "
                "AND a.parent_revision = s.parent_revision AND a.number >= s.child_first "
                "AND a.number <= s.child_first + s.child_step * (s.child_count - 1) "
                "AND (a.number - s.child_first) % s.child_step = 0 "
                "AND a.low <= s.parent_first + s.parent_step * ((a.number - s.child_first) // s.child_step) "
                "+ s.parent_width - 1 "
                "AND a.high >= s.parent_first + s.parent_step * ((a.number - s.child_first) // s.child_step)"
            ).fetchnumpy()["row"]
        mask = np.zeros(len(children), bool)
        mask[rows.astype(np.int64)] = True
        return mask

    def kinds(self, streams: Iterable[Stream]) -> dict[Stream, str]:
        """Kind of each stream that has a stored row."""
        sources, names = zip(*sorted(set(streams)), strict=True)
        with self._hot.incoming(pa.table({"source": sources, "stream": names})):
            rows = self._hot.connection.execute(
                "SELECT source, stream, any_value(kind) FROM "  # noqa: S608 - names of ours
                f"({self._stored('streams', 'source, stream, kind')}) SEMI JOIN incoming "
                "USING (source, stream) GROUP BY ALL"
            ).fetchall()
        return {(source, stream): kind for source, stream, kind in rows}

    def versions(self, table: str) -> set[int]:
        """Versions of stored rows of `models` or `training_runs`."""
        return {
            version
            for (version,) in self._hot.connection.execute(
                f"SELECT DISTINCT version FROM ({self._stored(table, 'version')})"  # noqa: S608 - names of ours
            ).fetchall()
        }

    def _stored(self, table: str, columns: str, role: str = "") -> str:
        """SELECT of all stored rows of a table.

        With `role`, only segments that may have numbers in `incoming` (source, stream, lowest, highest) are
        read.
        """
        of = (
            "spans SEMI JOIN incoming ON spans.source = incoming.source AND spans.stream = incoming.stream "
            f"AND spans.lowest <= incoming.highest AND spans.highest >= incoming.lowest AND role = '{role}'"
            if role
            else "segments"
        )
        current = "" if role else " AND superseded IS NULL"
        files = self._hot.connection.execute(
            f"SELECT DISTINCT file FROM {of} WHERE table_name = ?{current}",  # noqa: S608 - names of ours
            [table],
        ).fetchall()
        waiting = f"SELECT {columns} FROM {self._hot.waiting(table)}"  # noqa: S608 - names of ours
        if not files:
            return waiting
        listed = ", ".join(quoted(file) for (file,) in files)
        return f"{waiting} UNION ALL SELECT {columns} FROM read_parquet([{listed}])"  # noqa: S608 - names of ours
