"""Which notices a device has for its wearers, and which it says that it has shown.

A notice is due when a wearer is met on a device (the first state that the device reports, or the first
consent) and again when the words of the policy's notice are others than in all that the device has: once for
each wearer, device and version. Positions in the partition decide, so it does not matter how fetches are cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from streams.events.batch import Batch
from streams.events.state import Delivered, DeliveredNotice
from streams.limits import NOTICES_PER_WEARER_MAX, NOTIFIED_WEARERS_MAX
from streams.policy.crossing import Crossing
from streams.policy.notice import notice_of
from streams.policy.step import NoticeEvent

#: Kinds at whose events a notice can be due: a device sends them before there is any consent.
MET_AT = frozenset({"device_state", "consent_change"})
_UNDELIVERED = "notice: it acknowledges the notice of the policy in force before it was delivered here"
_UNKNOWN = "notice: it acknowledges a notice that was not delivered to this device for this wearer"
_TWICE = "notice: it acknowledges a notice that the device has acknowledged for this wearer before"


class Notices:
    """The notices of one device during a fetch; what is due or acknowledged goes to the step."""

    def __init__(self, delivered: Delivered, crossing: Crossing) -> None:
        self._delivered = dict(delivered)
        self._policy, self._step = crossing.policy, crossing.step

    def meet(self, batch: Batch) -> None:
        """Deliver the notice of the policy in force at an event of a wearer, unless the device has it."""
        version, wearer = notice_of(self._policy).version, batch.wearer_id
        before = self._delivered.get(wearer, ())
        if not any(each.version == version for each in before):
            after = (*before, DeliveredNotice(version))[-NOTICES_PER_WEARER_MAX:]
            self._delivered[wearer] = after
            if len(self._delivered) > NOTIFIED_WEARERS_MAX:
                # By name, because a state that was saved has no other order.
                del self._delivered[min(self._delivered.keys() - {wearer})]
            self._step.notices.append(NoticeEvent(batch, version))

    def acknowledge(self, batch: Batch, version: str) -> str:
        """Note that the device has shown a notice; return why that cannot be, empty if it can."""
        before = self._delivered.get(batch.wearer_id, ())
        if DeliveredNotice(version, acknowledged=True) in before:
            return _TWICE
        if DeliveredNotice(version) not in before:
            return _UNDELIVERED if version == notice_of(self._policy).version else _UNKNOWN
        self._delivered[batch.wearer_id] = tuple(_acknowledged(before, version))
        self._step.notices.append(NoticeEvent(batch, version, acknowledged=True))
        return ""

    def end(self) -> Delivered | UnsetType:
        """The notices for the state of the device."""
        return self._delivered or UNSET


def _acknowledged(notices: Iterable[DeliveredNotice], version: str) -> Iterable[DeliveredNotice]:
    return (
        DeliveredNotice(version, acknowledged=True) if each.version == version else each for each in notices
    )
