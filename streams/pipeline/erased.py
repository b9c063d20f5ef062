"""What an erasure takes from the states of devices: all that a later event could still be made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from streams.consent.view import PartitionConsents
from streams.events.state import DeviceState
from streams.pipeline.devices import Devices


def without_erased(devices: Devices, before: PartitionConsents, known: PartitionConsents) -> Devices:
    """States without windows, recent events and open answers of data that is erased.

    `before` is what was known before the erasures. What operators remember of a device names no wearer, so it
    goes as a whole if the device may have spoken for somebody who was erased now. Its streams are told to the
    store again if it goes on, and who was erased gets the notice again.
    """

    def is_erased(wearer: str, since_ns: int) -> bool:
        return since_ns <= known.erased_ns(wearer)

    spoke_for = defaultdict[str, set[str]](set)
    for device, wearer in known.pairings:
        spoke_for[device].add(wearer)
    changed: dict[str, DeviceState] = {}
    for name, slot in devices.fresh(Devices()):
        state = slot.read()
        left = _left(state, is_erased)
        if any(known.erased_ns(wearer) > before.erased_ns(wearer) for wearer in spoke_for[name]):
            notices = {
                wearer: of
                for wearer, of in state.delivered.items()
                if known.erased_ns(wearer) == before.erased_ns(wearer)
            }
            left = replace(left, memories={}, known_streams=(), notices=notices or UNSET)
        if left != state:
            changed[name] = left
    return devices.changed(changed) if changed else devices


def _left(state: DeviceState, is_erased: Callable[[str, int], bool]) -> DeviceState:
    windows = {
        operator: left
        for operator, of in state.windows.items()
        if (left := {name: each for name, each in of.items() if not is_erased(each.wearer_id, each.since_ns)})
    }
    look_backs = {
        operator: rest
        for operator, of in state.kept.items()
        if (
            rest := {
                name: each
                for name, each in of.items()
                if not any(is_erased(kept.window.wearer_id, kept.window.since_ns) for kept in each.windows)
            }
        )
    }
    return replace(
        state,
        windows=windows,
        look_backs=look_backs or UNSET,
        recents=tuple(each for each in state.recents if not is_erased(each.wearer_id, each.since_ns)),
        answers=tuple(each for each in state.answers if not is_erased(each.wearer_id, each.since_ns)),
    )
