"""The model versions that a worker knows, from `glasses.models`, which it reads completely and follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from msgspec import structs

from streams import metrics
from streams.errors import MalformedError, UnavailableError
from streams.events.record import Received
from streams.limits import LABEL_BYTES, MODEL_NUMBERS_AHEAD_MAX, MODELS_WAITING_MAX, NUMBER_MAX
from streams.models.pointer import Pointer, Rollback
from streams.models.version import CURRENT_KEY, ModelVersion, version_key
from streams.models.withdrawn import Withdrawn
from streams.topology import MODELS

#: Whether a version can serve: False while its policy is not known, MalformedError if it never can.
Check = Callable[[ModelVersion], bool]


def _any(_version: ModelVersion) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class ModelVersions:
    """The model versions that are known at one moment, by number; an immutable value.

    `current` is the one that the pointer names, `highest` the newest that was read, `promoted` the newest
    that was not declined, and `candidate` the newest if it was declined; 0: there is none. `rollback` is
    the last return of an operator to an earlier version; it is superseded if another version was promoted
    since. `withdrawn` is what is left of those that learned from somebody who was erased, which never serve.
    """

    versions: Mapping[int, ModelVersion] = field(default_factory=dict)
    current: int = 0
    highest: int = 0
    promoted: int = 0
    rollback: Rollback | None = None
    candidate: int = 0
    withdrawn: Mapping[int, Withdrawn] = field(default_factory=dict)

    @property
    def serving(self) -> int:
        """The version to take up: the current one, or the newest promoted if no pointer is readable; 0: none.

        Compaction keeps only the last record of a key, even a forged one, so a pointer can be lost.
        """
        return self.current or self.promoted

    def digest(self, number: int) -> str:
        """Digest of the model of a version, also of one that was withdrawn; empty if it is not known."""
        if number in self.versions:
            return self.versions[number].model.digest
        return self.withdrawn[number].digest if number in self.withdrawn else ""

    def gone(self, number: int) -> bool:
        """Whether a version was withdrawn, and its value is not in memory either."""
        return number in self.withdrawn and number not in self.versions

    def version(self, number: int) -> ModelVersion:
        """Version by number; UnavailableError if this worker has not read it.

        The record that names the version is not at fault then.
        """
        if number not in self.versions:
            raise UnavailableError(
                f"model version {number} is not on {MODELS}; "
                "start the worker again, or look into what removed it"
            )
        return self.versions[number]


class ModelTable:
    """`glasses.models` as read so far; `now` is the resulting value.

    Each record replaces `now`; values from before stay unchanged. `check` is called with each version, and
    again with a version that waits for its policy. The `kept_max` newest versions and the current one stay in
    memory.
    """

    def __init__(self, check: Check = _any, kept_max: int = NUMBER_MAX) -> None:
        self.now = ModelVersions()
        self._check, self._kept_max = check, kept_max
        #: Versions whose policy is not known yet: two topics have no common order, so it may be read later.
        self._waiting: deque[ModelVersion] = deque(maxlen=MODELS_WAITING_MAX)
        self._pointed: Pointer | None = None

    def learn(self, key: bytes | None, value: bytes | None) -> None:
        """Process one record of `glasses.models`.

        MalformedError if it is neither a version that training can have made, nor a pointer to a known one.
        A refused record does not change which version serves.

        A number identifies one model for ever, because another model under a known number would change
        answers that were given already. A version under an unknown policy is refused, and can serve once the
        policy is known. What is left of a version that was withdrawn takes its place, unless it serves.
        """
        self.settle()
        if key == CURRENT_KEY:
            self._point(Pointer.load(value))
            return
        if Withdrawn.begins(value):
            self._withdraw(key, Withdrawn.load(value))
            return
        version = ModelVersion.load(value)
        number, known = version.version, self.now.versions.get(version.version)
        if key != version_key(number) or len(version.label) != LABEL_BYTES:
            raise MalformedError(
                "model version: its key or its label has another form, expected what training writes"
            )
        if known is not None and known.dump() != version.dump():
            raise MalformedError(
                "model version: found another one under a known number, expected a new number"
            )
        if number in self.now.withdrawn:
            raise MalformedError(
                "model version: found one that was withdrawn after an erasure, expected a new number"
            )
        self._refuse_far(number)
        if not self._check(version):
            self._waiting.append(version)
            raise MalformedError(
                "model version: its policy version is not known, expected one that was published before it; "
                "it serves once that is read"
            )
        self._keep(version)

    def settle(self) -> None:
        """Check again the versions that wait for a policy, and follow the pointer if it names one of them."""
        for version in [self._waiting.popleft() for _ in range(len(self._waiting))]:
            try:
                if not self._check(version):
                    self._waiting.append(version)
                elif version.version not in self.now.versions:
                    self._keep(version)
            except MalformedError:
                continue  # it was reported and counted when it arrived
        if self._pointed is not None and self._pointed.version in self.now.versions:
            self._point(self._pointed)

    def recall(self, number: int, records: Iterable[Received]) -> None:
        """Load a version that is no longer in memory from records of the topic, if it is among them.

        One that was withdrawn is loaded too while the topic still has it: what was computed with it can be
        computed again, and nothing else uses it.
        """
        for record in records:
            if record.key == version_key(number):
                try:
                    version = ModelVersion.load(record.value)
                    if self._check(version):
                        if number not in self.now.versions:
                            self.now = replace(self.now, versions={**self.now.versions, number: version})
                        return
                except MalformedError:
                    continue  # it was reported and counted when it arrived

    def _refuse_far(self, number: int) -> None:
        highest = self.now.highest
        if self.now.versions and number > highest + MODEL_NUMBERS_AHEAD_MAX:
            raise MalformedError(
                f"model version: found a number more than {MODEL_NUMBERS_AHEAD_MAX} above {highest}, "
                "expected the next one"
            )

    def _withdraw(self, key: bytes | None, gone: Withdrawn) -> None:
        number = gone.version
        known = self.now.versions.get(number) or self.now.withdrawn.get(number)
        same = known is None or (self.now.digest(number), known.trained_ns) == (gone.digest, gone.trained_ns)
        if key != version_key(number) or not same:
            raise MalformedError(
                "withdrawn model version: found what is left of another one, expected that of its number"
            )
        if number == self.now.current:
            raise MalformedError(
                "withdrawn model version: found the one that serves, expected a pointer to another before it"
            )
        self._refuse_far(number)
        withdrawn = {**self.now.withdrawn, number: gone}
        versions = {other: each for other, each in self.now.versions.items() if other not in withdrawn}
        promoted = (other for other, each in versions.items() if not each.declined)
        self.now = replace(
            self.now,
            versions=versions,
            withdrawn=withdrawn,
            highest=max(self.now.highest, number),
            promoted=max(promoted, default=0) if self.now.promoted == number else self.now.promoted,
            candidate=0 if self.now.candidate == number else self.now.candidate,
        )
        waiting = [version for version in self._waiting if version.version != number]
        self._waiting.clear()
        self._waiting.extend(waiting)

    def _keep(self, version: ModelVersion) -> None:
        known, withdrawn = self.now.versions.items(), self.now.withdrawn
        versions = {number: each for number, each in known if number not in withdrawn}
        versions[version.version] = version
        while len(versions) > self._kept_max + 1:
            # A version that is written again stays, because a pointer to it may follow.
            del versions[min(versions.keys() - {self.now.current, version.version})]
        highest = max(self.now.highest, version.version)
        newest = version.version if version.declined else 0
        self.now = replace(
            self.now,
            versions=versions,
            highest=highest,
            promoted=self.now.promoted if version.declined else max(self.now.promoted, version.version),
            candidate=newest if version.version == highest else self.now.candidate,
        )
        metrics.gauge("model_versions_kept", len(versions))

    def _point(self, pointer: Pointer) -> None:
        pointed = pointer.version
        if pointed not in self.now.versions or pointed in self.now.withdrawn:
            if any(version.version == pointed for version in self._waiting):
                self._pointed = pointer
            raise MalformedError(
                "model/current: points to a version that is not there, expected one written before"
            )
        self._pointed = None
        if self.now.versions[pointed].declined:
            raise MalformedError(
                "model/current: points to a declined version, expected one that was promoted"
            )
        rollback = pointer.rollback
        if rollback is None and self.now.rollback is not None:
            rollback = structs.replace(self.now.rollback, superseded=True)
        # A candidate of before an erasure may have learned from the erased.
        candidate = 0 if pointer.rollback is not None and pointer.rollback.erasure else self.now.candidate
        self.now = replace(self.now, current=pointed, rollback=rollback, candidate=candidate)
