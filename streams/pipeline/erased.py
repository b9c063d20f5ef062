"""What an erasure takes from the states of devices: all that a later event could still be made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from streams.consent.view import PartitionConsents
from streams.consent.words import NEVER_NS
from streams.events.state import DeviceState, OpenWindow, Recent
from streams.pipeline.devices import Devices


def without_erased(devices: Devices, before: PartitionConsents, known: PartitionConsents) -> Devices:
    """States without windows, recent events and open answers of data that is erased.

    `before` is what was known before the erasures. What operators remember of a device names no wearer, so it
    goes as a whole if the device may have spoken for somebody who was erased now. Its streams are told to the
    store again if it goes on, and who was erased gets the notice again, unless a place was erased: then what
    the wearer agreed to holds on.

    Of an erasure that names a place, what was captured at other times stays. An answer goes if anything that
    it was made from is of before the end of the last stay: when it was asked stands in no state.
    """

    def is_erased(wearer: str, first_ns: int, last_ns: int) -> bool:
        erased = known.erased(wearer)
        return first_ns <= erased.whole_ns or erased.has(first_ns, last_ns)

    spoke_for = defaultdict[str, set[str]](set)
    for device, wearer in known.pairings:
        spoke_for[device].add(wearer)
    changed: dict[str, DeviceState] = {}
    for name, slot in devices.fresh(Devices()):
        state = slot.read()
        left = _left(state, is_erased)
        if any(known.erased(wearer) != before.erased(wearer) for wearer in spoke_for[name]):
            notices = {
                wearer: of
                for wearer, of in state.delivered.items()
                if known.erased(wearer).whole_ns == before.erased(wearer).whole_ns
            }
            left = replace(left, memories={}, known_streams=(), notices=notices or UNSET)
        if left != state:
            changed[name] = left
    return devices.changed(changed) if changed else devices


def _left(state: DeviceState, is_erased: Callable[[str, int, int], bool]) -> DeviceState:
    def goes(of: OpenWindow | Recent) -> bool:
        return is_erased(of.wearer_id, of.since_ns, of.t_last_ns)

    windows = {
        operator: left
        for operator, of in state.windows.items()
        if (left := {name: each for name, each in of.items() if not goes(each)})
    }
    look_backs = {
        operator: rest
        for operator, of in state.kept.items()
        if (
            rest := {
                name: each for name, each in of.items() if not any(goes(kept.window) for kept in each.windows)
            }
        )
    }
    return replace(
        state,
        windows=windows,
        look_backs=look_backs or UNSET,
        recents=tuple(each for each in state.recents if not goes(each)),
        answers=tuple(
            each for each in state.answers if not is_erased(each.wearer_id, each.since_ns, NEVER_NS)
        ),
    )
