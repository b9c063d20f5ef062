"""Whether new derived events have all their parents in the store, for programs that look again and again."""

from __future__ import annotations

from msgspec import Struct

from streams.queries.store import Store
from streams.topology import SEED_STREAM, TRAINING_SOURCE


class Checked(Struct, frozen=True):
    """Derived events of the epochs up to `epoch`, and how many of them lack a parent in the store."""

    epoch: int
    events: int
    unresolved: int


def unresolved(store: Store, after: int) -> Checked:
    """Check the derived events of the epochs after `after`.

    A fold can give rows of earlier epochs the number of a later one, so an event can be checked twice.
    """
    asked = {"after": after, "seed_source": TRAINING_SOURCE, "seed_stream": SEED_STREAM}
    ((events, missing),) = store.shown("unresolved", asked).rows
    return Checked(store.epoch, events, missing)
