"""The states of a partition's devices. States that were not used lately can be moved to a shelf (a file)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from streams.events.state import DeviceState


class Shelf(Protocol):
    """Storage for states that were not used lately (see `streams.pipeline.shelf`)."""

    def use(self, slot: Slot) -> None:
        """Mark the decoded state of a slot as the one used most recently."""

    def read(self, number: int) -> DeviceState:
        """Read the state that is stored under a number."""

    def forget(self, slot: Slot) -> None:
        """Delete what is stored for a slot that is no longer referenced."""

    def settle(self) -> None:
        """Move the least recently used states to the shelf until those in memory are within their bound."""


class Slot:
    """One immutable state of one device, either decoded in memory or stored on a shelf.

    Slots are compared by object identity. So a checkpoint can find the states that changed without reading
    any of them, and the states that it compares with need not be in memory. `size_bytes` is the estimated
    size of the decoded state.
    """

    __slots__ = ("__weakref__", "_shelf", "number", "size_bytes", "state")

    def __init__(self, state: DeviceState, shelf: Shelf | None) -> None:
        self.state: DeviceState | None = state
        self.size_bytes = size_bytes(state)
        self.number: int | None = None
        self._shelf = shelf
        if shelf is not None:
            shelf.use(self)

    def load(self) -> None:
        """Bring the state into memory if it is on the shelf; it stays until the shelf moves it again."""
        self.state = self.read()
        if self._shelf is not None:
            self._shelf.use(self)

    def read(self) -> DeviceState:
        """Return the state without moving it to memory."""
        if self.state is not None:
            return self.state
        if self._shelf is None or self.number is None:
            raise AssertionError("a state is decoded or lies on a shelf")
        return self._shelf.read(self.number)

    def __del__(self) -> None:
        """Free the space on the shelf."""
        if self._shelf is not None:
            self._shelf.forget(self)


#: Measured size of Python's objects: an empty state, and (on average) one entry of a state.
_EMPTY_BYTES, _ENTRY_BYTES = 1500, 600


def size_bytes(state: DeviceState) -> int:
    """Estimate the size of a decoded state in memory."""
    windows = [window for of in state.windows.values() for window in of.values()]
    windows += [kept.window for of in state.kept.values() for some in of.values() for kept in some.windows]
    entries = len(state.seen) + len(windows) + len(state.recents) + len(state.answers) + len(state.memories)
    return (
        _EMPTY_BYTES
        + _ENTRY_BYTES * entries
        + sum(len(window.samples) for window in windows)
        + sum(map(len, state.memories.values()))
        + sum(4 * len(answer.utterance) for answer in state.answers)
        + sum(len(seen.recent) + len(seen.marks) + 100 * len(seen.ranges) for seen in state.seen.values())
    )


class Devices(Mapping[str, DeviceState]):
    """States by device, immutable. Only states that are in memory can be read.

    The shell loads the states that a fetch needs before it calls the core, so that the core reads no file
    (law 7; `streams.pipeline.live`).
    """

    __slots__ = ("_shelf", "_slots")

    def __init__(self, states: Iterable[tuple[str, DeviceState]] = (), shelf: Shelf | None = None) -> None:
        self._shelf = shelf
        self._slots: dict[str, Slot] = {}
        for name, state in states:
            self._slots[name] = Slot(state, shelf)
            if shelf is not None:
                shelf.settle()

    def __getitem__(self, name: str) -> DeviceState:
        state = self._slots[name].state
        if state is None:
            raise AssertionError("a device's state must be loaded before the core is called")
        return state

    def __contains__(self, name: object) -> bool:
        return name in self._slots

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, name: str) -> Slot | None:
        """Slot of a device; None if it has no state."""
        return self._slots.get(name)

    def changed(self, states: Mapping[str, DeviceState]) -> Devices:
        """Return a copy with some states replaced or added."""
        made = Devices(shelf=self._shelf)
        made._slots = {**self._slots, **{name: Slot(state, self._shelf) for name, state in states.items()}}
        return made

    def fresh(self, before: Devices) -> Iterator[tuple[str, Slot]]:
        """Names and slots of the states that `before` does not have."""
        known = before._slots
        return ((name, slot) for name, slot in self._slots.items() if known.get(name) is not slot)

    def taken(self, other: Devices, names: frozenset[str]) -> Devices:
        """Return a copy with the states of devices `names` taken from `other`, and removed if it has none."""
        made = Devices(shelf=self._shelf)
        made._slots = self._slots.copy()
        for name in names:
            if name in other._slots:
                made._slots[name] = other._slots[name]
            else:
                made._slots.pop(name, None)
        return made
