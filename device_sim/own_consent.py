"""A wearer's consent as the device knows it: which record its events name, and the notices it has shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from streams.events.batch import Batch

KIND = "consent_change"
GIVEN, WITHDRAWN = "dpv:ConsentGiven", "dpv:ConsentWithdrawn"
#: Status of an event that changes no consent: the device has shown a notice to its wearer.
ACKNOWLEDGED = "local:NoticeAcknowledged"
_GIVES = {GIVEN, "dpv:ConsentRenewed"}


@dataclass(frozen=True, slots=True)
class OwnConsent:
    """The newest record of consent: its number (0: none yet) and its purposes (empty: withdrawn).

    `shown` are the versions of the notices that the device acknowledged, in order, and `notice` is the one
    under which the record was given; empty if it names none. `expires_ns` is when it ends, if it does.
    """

    number: int = 0
    purposes: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    notice: str = ""
    expires_ns: int | None = None

    @property
    def named(self) -> int:
        """Number that the device's events name, 0 for none."""
        return self.number if self.purposes else 0

    @property
    def outdated(self) -> bool:
        """Whether the notice changed since the consent in force was given."""
        return bool(self.named) and len(self.shown) > 1 and self.notice != self.shown[-1]

    def again(self) -> dict[str, list[Any]]:
        """Columns of the event by which the wearer agrees to the same once more, under the notice of now."""
        return {
            "consent": [self.number + 1],
            "status": [GIVEN],
            "purposes": [" ".join(self.purposes)],
            "principal": [None],
            "expires_ns": [self.expires_ns],
            **self.under(GIVEN),
        }

    def under(self, status: str) -> Mapping[str, list[Any]]:
        """The column that names the notice under which a consent of this status is given.

        Left out for what gives nothing, and before a notice was shown: a pipeline of before notices were
        delivered refuses the column.
        """
        return {"notice": [self.shown[-1]]} if self.shown and status in _GIVES else {}

    def after(self, batch: Batch) -> OwnConsent:
        """The consent after the changes in `batch`."""
        if batch.columns["status"][-1] == ACKNOWLEDGED:
            return replace(self, shown=(*self.shown, *batch.columns["notice"]))
        number = max(self.number, *batch.columns["consent"])
        gives = batch.columns["status"][-1] in _GIVES
        purposes = tuple(batch.columns["purposes"][-1].split()) if gives else ()
        notice = batch.columns.get("notice", [None])[-1] or ""
        expires_ns = batch.columns["expires_ns"][-1]
        return replace(self, number=number, purposes=purposes, notice=notice, expires_ns=expires_ns)


def acknowledgement(version: str) -> dict[str, list[Any]]:
    """Columns of the event that says that a notice was shown."""
    return {
        "consent": [0],
        "status": [ACKNOWLEDGED],
        "purposes": [""],
        "principal": [None],
        "expires_ns": [None],
        "notice": [version],
    }
