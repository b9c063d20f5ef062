"""What is declared of an operation that moves data of events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: What is read or written.
Asset = Literal["topic", "state", "store", "model", "training", "export", "journal", "recording", "answer"]
#: How the view `io_counts` has what was recorded of an operation; empty where the store cannot know.
Counted = Literal["", "decisions", "events", "edges", "rejected", "epochs", "inputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something that sites do with data of events.

    Attributes
    ----------
    name
        Unique.
    step
        Stage, agent or command that does it.
    reads
        Of a write: the names of the operations whose data it was made from.
    recorded_in
        Where the link from what was written to what it was made from is recorded: tables of the store, the
        audit log, or `record` if what is written names its own sources. Empty if it is recorded nowhere.
    counted, key
        Which rows of the store count it: of `decisions` those of the sink `key`, of `events` those of the
        topic, of `edges` those of the operator with a model
        as a parent, of `inputs` those of the kind.
    reason
        Why it is not recorded; empty if it is.
    sites
        Calls in the code that do it.
    """

    name: str
    direction: Literal["read", "write"]
    asset: Asset
    step: str
    sites: tuple[str, ...]
    reads: tuple[str, ...] = ()
    recorded_in: tuple[str, ...] = ()
    counted: Counted = ""
    key: str = ""
    reason: str = ""


def linked(operations: Iterable[Operation]) -> frozenset[str]:
    """Names of the operations whose link between writes and reads is recorded.

    A write is linked if its link is recorded somewhere. A read is linked if a linked write names it.
    """
    writes = [each for each in operations if each.direction == "write" and each.recorded_in]
    return frozenset(each.name for each in writes) | {name for each in writes for name in each.reads}
