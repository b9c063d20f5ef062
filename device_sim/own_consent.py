"""A wearer's consent as the device knows it, and the record that its events name."""

from __future__ import annotations

from dataclasses import dataclass

from streams.events.batch import Batch

KIND = "consent_change"
GIVEN, WITHDRAWN = "dpv:ConsentGiven", "dpv:ConsentWithdrawn"
_GIVES = {GIVEN, "dpv:ConsentRenewed"}


@dataclass(frozen=True, slots=True)
class OwnConsent:
    """The newest record of consent: its number (0: none yet) and its purposes (empty: withdrawn)."""

    number: int = 0
    purposes: tuple[str, ...] = ()

    @property
    def named(self) -> int:
        """Number that the device's events name, 0 for none."""
        return self.number if self.purposes else 0

    def after(self, batch: Batch) -> OwnConsent:
        """The consent after the changes in `batch`."""
        number = max(self.number, *batch.columns["consent"])
        gives = batch.columns["status"][-1] in _GIVES
        return OwnConsent(number, tuple(batch.columns["purposes"][-1].split()) if gives else ())
