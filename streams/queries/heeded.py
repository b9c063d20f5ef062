"""How soon what a wearer took back was heeded: who took the word up when, and what still passed after it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from streams.limits import TIME_NS_MAX
from streams.queries.role import SHOWN_TO
from streams.queries.store import Store


class TakenUp(Struct, frozen=True):
    """A recorded input: words that an agent took up for a partition, in the fetch that began at `t_ns`."""

    agent: str
    partition: int
    t_ns: int
    value: str


class PassedAfter(Struct, frozen=True):
    """Events that still passed after a word that takes back, by a consent of before.

    `last_ns` is the time of the last such decision, and `id` its first event; 0 and empty if there is none.
    """

    events: int
    last_ns: int
    id: str


def passed_after(
    store: Store, wearer: str, devices: Sequence[str], purposes: Sequence[str], after_ns: int, before_ns: int
) -> PassedAfter:
    """What passed for these purposes between two times (`before_ns` 0: no end), of what the role is shown."""
    about = {"wearer": wearer, "devices": list(devices), "purposes": list(purposes)}
    times = {"after": after_ns, "before": before_ns or TIME_NS_MAX}
    ((events, last_ns, first),) = store.shown("heeded", {**about, **times}).rows
    return PassedAfter(events or 0, last_ns or 0, first or "")


def take_ups(store: Store, wearer: str) -> list[TakenUp] | None:
    """Take-ups of words in which a wearer is named, in order of time; None if the role is not shown them.

    They are of other partitions than the wearer's own, where a word holds from its place on.
    """
    if store.role_filter is not None and store.role_filter.role.name not in SHOWN_TO["inputs"]:
        return None
    return [TakenUp(*row) for row in store.shown("taken_up", {"named": f'"{wearer}"'}).rows]
