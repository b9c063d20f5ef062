"""What the store believes of a poll: the rows that agents can have written, and a rejection of each other."""

from __future__ import annotations

import pyarrow as pa

from streams.lineage.tables import TABLES
from streams.snapshots.intake import decode, expired, genuine, overlap
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.poll import Poll


def believed(poll: Poll, known: Lookup) -> dict[str, pa.Table]:
    """Tables of the rows that agents can have written; other rows become rows of `rejected`."""
    known.forget()
    genuine.check_tags(poll, known)
    overlap.check(poll, known)
    expired.leave_out(poll, known)
    tables = {name: content for name, content in poll.tables.items() if content.num_rows}
    if refused := list(poll.rejected()):
        rejected = decode.arrow_of(
            "rejected", {name: [row[name] for row in refused] for name in TABLES["rejected"]}
        )
        tables["rejected"] = (
            pa.concat_tables([tables["rejected"], rejected]).unify_dictionaries()
            if "rejected" in tables
            else rejected
        )
    return tables
