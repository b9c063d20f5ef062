"""The store as one viewer sees it: opened for each request, for the role of the viewer, at an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from streams import clock, limits
from streams.errors import InputError, PendingError, SightlineError
from streams.events.headers import rfc3339
from streams.page.drawing.zones import Looks
from streams.page.pictures.links import Links
from streams.policy.stored import read_stored
from streams.queries.asking import OpenStore, open_store
from streams.queries.moments import Moment
from streams.queries.role import Role

EPOCH = "epoch"
#: How far agents and store are behind, by partition: rows as of `sightline status`.
LagRows = Sequence[Mapping[str, Any]]
#: What says so, from the store's next offsets by partition of glasses.lineage. UnavailableError if the broker
#: is away.
Lag = Callable[[Mapping[int, int]], LagRows]


class RefusedError(SightlineError):
    """A page that cannot be shown; `status` is that of HTTP, `heading` says in two words what is wrong.

    After `again_s` seconds a browser asks once more by itself; 0: it does not.
    """

    def __init__(self, status: int, heading: str, words: str, again_s: int = 0) -> None:
        super().__init__(words)
        self.status, self.heading, self.again_s = status, heading, again_s


class Asked(Struct, frozen=True, kw_only=True):
    """What a page is made from: an open store, the parts of the address, and how links and zones look."""

    store: OpenStore
    role: Role
    path: Mapping[str, str]
    query: Mapping[str, str]
    links: Links
    looks: Looks

    def word(self, name: str) -> str:
        """Return a value of the address's query; empty if it is not there."""
        return self.query.get(name, "")

    def whole(self, name: str, default: int, largest: int) -> int:
        """Return a whole number of the address's query, from 1 up; RefusedError 400 if it is none."""
        text = self.word(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= largest and len(text) < 9):
            raise RefusedError(400, "Wrong address", f"{name}: found no whole number from 1 to {largest}")
        return int(text)


class Bar(Struct, frozen=True, kw_only=True):
    """The top of every page: who looks at which epoch, what is not shown, and which epochs are kept."""

    role: str
    store: str
    epoch: int
    newest: int
    pinned: bool
    published_ns: int
    epochs: tuple[int, ...]
    hidden: Mapping[str, str]
    left_out: tuple[str, ...]

    @property
    def published(self) -> str:
        """When the shown epoch was published, in RFC 3339."""
        return rfc3339(self.published_ns)

    @property
    def age_s(self) -> float:
        """Age of the shown epoch."""
        return max((clock.now_ns() - self.published_ns) / 1e9, 0.0)

    @property
    def place(self) -> int:
        """Place of the shown epoch among those of the slider."""
        return self.epochs.index(self.epoch)

    @property
    def earlier(self) -> int | None:
        """The kept epoch before the shown one; None at the first."""
        return self.epochs[self.place - 1] if self.place else None

    @property
    def later(self) -> int | None:
        """The kept epoch after the shown one; None at the newest."""
        return self.epochs[self.place + 1] if self.place + 1 < len(self.epochs) else None


class View(Struct, frozen=True):
    """An open store for one request, and the kept epochs, oldest first."""

    directory: Path
    store: OpenStore
    role: Role
    moments: Sequence[Moment]
    pinned: bool

    def bar(self) -> Bar:
        """Return the top of the page; to be called last, because it tells what was hidden so far."""
        newest = self.moments[-1]
        shown = next(each for each in self.moments if each.epoch == self.store.epoch)
        return Bar(
            role=str(self.role),
            store=self.directory.absolute().name,
            epoch=shown.epoch,
            newest=newest.epoch,
            pinned=self.pinned,
            published_ns=shown.published_ns,
            epochs=_some(self.moments, shown.epoch),
            hidden=self.store.hidden,
            left_out=tuple(self.store.left_out),
        )


@contextmanager
def viewed(directory: Path, role: Role, epoch: str) -> Iterator[View]:
    """Open the store for a request: its newest epoch, or the kept one whose number is `epoch`.

    Every request opens it anew, since files of replaced epochs are deleted after SUPERSEDED_GRACE_S. A past
    epoch is shown under today's roles.

    Raises
    ------
    RefusedError
        400 if the epoch is no number, 410 if it is not kept, 503 if the store cannot be opened.
    """
    if epoch and not (epoch.isascii() and epoch.isdigit()):
        raise RefusedError(400, "Wrong address", "epoch: found no number, expected that of a kept epoch")
    try:
        newest = open_store(directory, role=role)
    except PendingError as error:
        raise RefusedError(503, "Nothing published yet", str(error), limits.PAGE_PENDING_S) from None
    except SightlineError as error:
        raise RefusedError(503, "No store to read", str(error)) from None
    with newest:
        # A past epoch no longer knows those after it, so the newest says which are kept.
        moments = newest.moments()
        if not epoch or int(epoch[:19]) == newest.epoch:
            yield View(directory, newest, role, moments, bool(epoch))
            return
    try:
        past = open_store(directory, role=role, as_of=epoch)
    except InputError as error:
        raise RefusedError(410, "Epoch gone", str(error).removeprefix("as_of: ")) from None
    except SightlineError as error:
        raise RefusedError(503, "No store to read", str(error)) from None
    with past:
        # The writer may have published meanwhile.
        yield View(directory, past, role, moments, pinned=True)


def looks_of(store: OpenStore) -> Looks:
    """Return how zones look, by the policy that came into the store last; nothing if it cannot be read."""
    last = store.last_policy()
    return Looks.of(()) if last is None else _looks(*last)


@lru_cache(maxsize=8)
def _looks(version: str, text: str) -> Looks:
    try:
        policy = read_stored(version, text)
    except InputError:
        return Looks.of(())
    return Looks.of((zone.name, zone.rank) for zone in policy.zones_by_name.values())


def _some(moments: Sequence[Moment], shown: int) -> tuple[int, ...]:
    """Return at most PAGE_EPOCHS_MAX kept epochs: both ends, the shown one, its neighbours, others evenly."""
    count, most = len(moments), limits.PAGE_EPOCHS_MAX
    place = next(at for at, each in enumerate(moments) if each.epoch == shown)
    near = {at for at in (place - 1, place, place + 1) if 0 <= at < count}
    even = range(count) if count <= most else {at * (count - 1) // (most - 4) for at in range(most - 3)}
    return tuple(moments[at].epoch for at in sorted({*near, *even}))
