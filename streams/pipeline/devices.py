"""What a partition remembers of its devices: values, of which those not used lately lie on a shelf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from streams.events.state import DeviceState


class Shelf(Protocol):
    """Where states lie that were not used lately (see `streams.pipeline.shelf`)."""

    def use(self, slot: Slot) -> None:
        """Note that a decoded state is used now: it is the last to be put away."""

    def read(self, number: int) -> DeviceState:
        """State that lies under a number."""

    def forget(self, slot: Slot) -> None:
        """Let go of what is kept of a slot that nobody holds any more."""

    def settle(self) -> None:
        """Put away what was not used longest, until the rest is within its bound."""


class Slot:
    """One state of one device: the same value for as long as it lives, decoded or on a shelf.

    Two slots are the same state when they are the same object, whichever form it has at the moment: so a
    checkpoint tells what changed without reading anything, and what it compares with needs no memory.
    `size_bytes` is what the state takes when it is decoded.
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
        """Decode the state, if it lies on the shelf; it stays decoded until the shelf puts it away."""
        self.state = self.read()
        if self._shelf is not None:
            self._shelf.use(self)

    def read(self) -> DeviceState:
        """Return the state, and leave it where it is."""
        if self.state is not None:
            return self.state
        if self._shelf is None or self.number is None:
            raise AssertionError("a state is decoded or lies on a shelf")
        return self._shelf.read(self.number)

    def __del__(self) -> None:
        """Give back its place."""
        if self._shelf is not None:
            self._shelf.forget(self)


#: What Python's objects come to, measured: of a state with nothing in it, and of one entry of each part.
_EMPTY_BYTES, _ENTRY_BYTES = 1500, 600


def size_bytes(state: DeviceState) -> int:
    """About how many bytes a decoded state takes."""
    windows = [window for of in state.windows.values() for window in of.values()]
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
    """States by device, immutable; only those that are decoded can be read.

    The shell decodes those of a fetch before the core is called (law 7; `streams.pipeline.live`).
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
        """Slot of a device; None when nothing is remembered of it."""
        return self._slots.get(name)

    def changed(self, states: Mapping[str, DeviceState]) -> Devices:
        """Return these devices with some states in place of theirs, or besides."""
        made = Devices(shelf=self._shelf)
        made._slots = {**self._slots, **{name: Slot(state, self._shelf) for name, state in states.items()}}
        return made

    def fresh(self, before: Devices) -> Iterator[tuple[str, Slot]]:
        """Names and slots of the states that are not those of `before`."""
        known = before._slots
        return ((name, slot) for name, slot in self._slots.items() if known.get(name) is not slot)

    def taken(self, other: Devices, names: frozenset[str]) -> Devices:
        """Return these devices with what `other` remembers of the devices `names`, and no more of them."""
        made = Devices(shelf=self._shelf)
        made._slots = self._slots.copy()
        for name in names:
            if name in other._slots:
                made._slots[name] = other._slots[name]
            else:
                made._slots.pop(name, None)
        return made
