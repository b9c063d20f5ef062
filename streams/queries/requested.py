"""Erasure requests that devices sent, as the store has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from streams.queries.store import Store


class ErasureRequest(Struct, frozen=True, kw_only=True):
    """A request: its event, the wearer who asked, when by the device's clock and by the broker's (ns).

    `partition` and `offset` are its place on `glasses.captured`. A refused one has the `rule`, and no wearer,
    because whose it was is not known. Any other came from a device that was paired with the wearer then: the
    zones stage refuses what did not.
    """

    source: str
    stream: str
    number: int
    wearer: str
    t_ns: int
    asked_ns: int
    rule: str
    partition: int
    offset: int

    @property
    def id(self) -> str:
        """Id of the event."""
        return f"{self.source}/{self.stream}/{self.number}"

    def is_open(self, erased_ns: int) -> bool:
        """Whether the wearer is still to be erased, whose data is erased up to a time (0: none is)."""
        return not self.rule and min(self.t_ns, self.asked_ns) > erased_ns


def erasure_requests(stores: Sequence[Path]) -> list[ErasureRequest]:
    """All requests in stores, by time. Those of an erased wearer leave the store with everything else.

    Errors are those of `Store.open`.
    """
    with Store.open(stores) as opened:
        return opened.query("requested").of(ErasureRequest)
