"""Run trusted statements as of a past epoch, by leaving out rows of later epochs."""

from __future__ import annotations

import re

#: Views that have the epoch of each row.
_WITH_EPOCH = (
    *("events", "event_records", "edges", "edge_records", "decisions", "rejected", "models", "streams"),
    *("training_runs", "inputs", "policies", "shadow", "epochs", "zone_runs", "io_counts"),
)
_COMMENT = re.compile(r"\A(?:--[^\n]*\n)+")
_FILES = "read_parquet($files)"


def as_of(statement: str, epoch: int) -> str:
    """Rewrite a trusted statement to see only rows up to an epoch; it must name views without a schema."""
    text = _COMMENT.sub("", statement).replace(_FILES, f"(FROM {_FILES} WHERE epoch <= {epoch})")
    read = [name for name in _WITH_EPOCH if re.search(rf"(?<![.\w]){name}\b", text)]
    if not read:
        return text
    parts = ", ".join(f"{name} AS (FROM store.main.{name} WHERE epoch <= {epoch})" for name in read)
    further = text.removeprefix("WITH ")
    return f"WITH {parts}{', ' if further != text else ' '}{further}"
