"""The shell around the alert rules: looks at a store and its disk, keeps what is remembered, and judges."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from streams import clock
from streams.errors import DamagedError, PendingError, UnavailableError
from streams.events.headers import rfc3339
from streams.queries.newest import newest_catalog
from streams.queries.role import SHOWN_TO, Role
from streams.queries.store import Store
from streams.queries.watched import Looking, Watched, watched
from streams.watching.absorbing import absorb
from streams.watching.alert import Alert, Change, changes
from streams.watching.reading import Disk, Position, Reader, Reading, Refused
from streams.watching.rules import RULES, judge
from streams.watching.state import State
from streams.watching.thresholds import Thresholds

log = logging.getLogger(__name__)
#: The question in the audit log.
_QUESTION = "watch"


class Turn(Struct, frozen=True, kw_only=True):
    """What a look changed, what stands now, and how many more alerts stand than are listed."""

    changes: tuple[Change, ...]
    standing: tuple[Alert, ...]
    left_out: int


class Watcher:
    """Follows the published epochs of one store, for a role; for one thread at a time.

    It remembers little and can begin at any epoch. Delivery: each alert is in the changes of one turn as it
    begins and of one as it ends; after a start, those that already stand begin again.

    Parameters
    ----------
    directory
        Directory of the store.
    thresholds
        When each alert begins.
    question
        How a look is named in the audit log.
    """

    def __init__(
        self, directory: Path, role: Role, thresholds: Thresholds, question: str = _QUESTION
    ) -> None:
        self._directory, self._role, self._thresholds = directory.resolve(), role, thresholds
        self._question = question
        self._state = State()
        self._standing: tuple[Alert, ...] = ()
        self._catalog = Path()
        self._fault = ""
        self._start_ns, self._start_s = clock.now_ns(), clock.monotonic_s()
        #: What is hidden from the role in what was read so far, as bands.
        self.hidden: Mapping[str, str] = {}
        #: Next offsets of glasses.lineage in the newest epoch that was read.
        self.offsets: Mapping[int, int] = {}

    def look(
        self,
        positions: Mapping[Reader, Position] | None = None,
        arrived: tuple[Refused, ...] | None = None,
    ) -> Turn:
        """Read what is new, and judge.

        Parameters
        ----------
        positions
            Where the readers of topics are; None if no broker was asked.
        arrived
            What `glasses.rejected` added since the last look; None if it is not followed.

        Raises
        ------
        UnavailableError
            At the first look: there is no store (one without an epoch is waited for). At any: a read of
            restricted zones cannot be recorded, so the alerts are not shown. An epoch that cannot be read
            later is logged and tried again, and after a while `no-epoch` stands.
        InputError
            The store has another version, or the role is not granted.
        DamagedError
            At the first look: a file of the store is not as its writer wrote it.
        """
        store = self._opened()
        if store is None:
            return self._judged(self._reading(None, positions, arrived), None)
        with store:
            try:
                news = watched(store, self._looking())
            except (UnavailableError, DamagedError) as error:
                self._put_off(error)
                return self._judged(self._reading(None, positions, arrived), None)
            self._fault, self.hidden, self.offsets = "", store.hidden, news.offsets
            return self._judged(self._reading(news, positions, arrived), store)

    def not_judged(self, lacking_broker: str) -> list[str]:
        """Names of the rules that cannot be judged, each with what it lacks.

        `lacking_broker` says why positions of readers are not known; it is empty if they are.
        """
        lacks = {
            "broker": lacking_broker,
            "inputs": ""
            if self._role.name in SHOWN_TO["inputs"]
            else f"the role {self._role} is not shown what wearers said",
        }
        return [f"{rule.name} ({lacks[rule.needs]})" for rule in RULES if rule.needs and lacks[rule.needs]]

    def _opened(self) -> Store | None:
        """Open the newest epoch, if it was not read yet."""
        try:
            catalog = newest_catalog(self._directory)
            if catalog == self._catalog:
                return None
            store = Store.open(self._directory, self._role)
        except (UnavailableError, DamagedError) as error:
            self._put_off(error)
            return None
        if store.epoch == self._state.epoch:
            store.close()
            return None
        if store.epoch < self._state.epoch:
            log.warning(
                "%s: found epoch %d after %d: another store lies there now, and watching begins anew",
                self._directory,
                store.epoch,
                self._state.epoch,
            )
            self._state = State()
        self._catalog = catalog
        return store

    def _put_off(self, error: UnavailableError | DamagedError) -> None:
        """Log why an epoch cannot be read, once; raise it at the first look, unless it is still to come."""
        self._catalog = Path()
        if not self._state.started and not isinstance(error, PendingError):
            raise error
        if str(error) != self._fault:
            self._fault = str(error)
            log.warning("%s; looking again", error)

    def _looking(self) -> Looking:
        lineage = self._thresholds.lineage_incomplete
        return Looking(
            after=self._state.epoch,
            settled=self._state.settled,
            window_s=self._thresholds.window_s,
            settling_s=lineage.settling_s,
            checked_s=lineage.checked_s,
        )

    def _reading(
        self,
        news: Watched | None,
        positions: Mapping[Reader, Position] | None,
        arrived: tuple[Refused, ...] | None,
    ) -> Reading:
        now_s = clock.monotonic_s()
        # A step of the clock while this runs changes no alert.
        now_ns = self._start_ns + int((now_s - self._start_s) * 1e9)
        return Reading(
            now_s=now_s,
            now_ns=now_ns,
            epoch_age_s=0.0 if news is None else (now_ns - news.published_ns) / 1e9,
            watched=news,
            positions=positions,
            disk=_disk(self._directory),
            arrived=arrived,
        )

    def _judged(self, reading: Reading, store: Store | None) -> Turn:
        """Remember a reading and judge it; the state is kept only if what is told is on record."""
        state = absorb(self._state, reading, self._thresholds)
        standing, left_out = judge(state, self._thresholds, self._standing)
        told = tuple(changes(self._standing, standing, rfc3339(state.now_ns)))
        if told and store is not None:
            store.record(self._question)
        self._state, self._standing = state, standing
        return Turn(changes=told, standing=standing, left_out=left_out)


def _disk(directory: Path) -> Disk | None:
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        # The store is away, which is said already.
        return None
    return Disk(usage.free, usage.total)
