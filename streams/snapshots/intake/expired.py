"""Edges that come after a parent of theirs was over and had left the store.

The rewriting at the end of a day takes an edge with its parent, but knows no parent that left before. So what
it would have taken is left out when it comes, without a trace in `rejected`: nothing is wrong with it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from streams.limits import NUMBER_MAX
from streams.lineage.parting import split_parents
from streams.lineage.ranges import Ranges
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import Poll, numbers


def leave_out(poll: Poll, known: Lookup) -> None:
    """Take the edges of a poll to parents that were over out of it; a run of edges loses that part alone.

    Of a parent that was made again each revision leaves at its own time.
    """
    edges = poll.tables.get("edges")
    if edges is None or not len(edges):
        return
    streams, of = poll.distinct("edges", "parent_source", "parent_stream")
    low = numbers(edges, "parent_first")
    last = numbers(edges, "parent_step") * (numbers(edges, "child_count") - 1)
    lowest, highest = np.full(len(streams), NUMBER_MAX), np.zeros(len(streams), np.int64)
    np.minimum.at(lowest, of, low)
    np.maximum.at(highest, of, low + last + numbers(edges, "parent_width") - 1)
    reach = zip(lowest.tolist(), highest.tolist(), strict=True)
    gone = known.over(dict(zip(streams, reach, strict=True)))
    if not gone:
        return
    ranges = Ranges((run[:3], *run[3:]) for run in gone)
    kept, taken = split_parents(edges.append_column("row", pa.array(np.arange(len(edges)))), ranges)
    if len(taken):
        kept = kept.sort_by("row")
        poll.replace("edges", kept.drop_columns(["row"]), poll.owners["edges"][numbers(kept, "row")])
