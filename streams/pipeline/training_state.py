"""What agent `training` remembers between fetches, and its form on `glasses.state`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import orjson
from msgspec import Struct, ValidationError, json

from streams.events.identity import EventId, format_id
from streams.events.runs import consecutive
from streams.events.state import Number
from streams.limits import ADMITTED_MAX, LEFT_OUT_MAX
from streams.models.pointer import Rollback, Versions, together
from streams.models.version import ModelVersion, ids_of

STATE_KEY = "@training"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """State of agent `training`.

    `version` is the last version made, `admitted` the number of examples admitted since, and `examples` the
    ids of all admitted examples. `consents_taken` is the offset of `glasses.consents` up to which consents
    were taken up, `now_ns` the highest append time so far. `serving` is the version that was promoted last,
    with which new ones are compared, or to which an operator went back; `rolled_back_ns` is the time of the
    last such rollback. `left_out` are the newest examples of runs that failed, and those that came since the
    version to which an operator went back; later runs do not learn from them. `owed`: the next example
    triggers a run, however few were admitted, because versions were withdrawn after an erasure.
    `withdrawn` are all versions that learned from somebody who was erased, `left_behind` those from which
    somebody went back, or the loop by itself, to an earlier one.
    """

    version: int = 1
    admitted: int = 0
    policy_version: str = ""
    consents_taken: int = 0
    examples: frozenset[str] = field(default_factory=frozenset)
    now_ns: int = 0
    left_out: tuple[str, ...] = ()
    serving: int = 1
    rolled_back_ns: int = 0
    owed: bool = False
    withdrawn: Versions = ()
    left_behind: Versions = ()

    def after(self, version: int) -> TrainingState:
        """Return a copy with `version` as the last version made, at least that of the seed."""
        return replace(self, version=max(version, 1))

    def returned(self, rollback: Rollback) -> TrainingState:
        """Return a copy in which a rollback is taken up; the version serves that it went back to.

        If another one was promoted since, that one serves.
        """
        return replace(
            self,
            serving=self.serving if rollback.superseded else rollback.version,
            rolled_back_ns=rollback.at_ns,
            owed=self.owed or rollback.erasure,
            withdrawn=together(self.withdrawn, rollback.withdrawn),
            left_behind=rollback.leaving(self.left_behind),
        )

    def learning_on_from(self, version: ModelVersion) -> TrainingState:
        """Return a copy that leaves out what was admitted since `version` was made.

        Otherwise the next version would be what somebody went back from.
        """
        manifest = version.manifest
        known = ids_of(manifest.admitted, manifest.validation, manifest.test)
        since = sorted(self.examples - {*known, *self.left_out}, key=_place)
        return replace(self, left_out=(*self.left_out, *since)[-LEFT_OUT_MAX:])

    @classmethod
    def load(cls, value: bytes) -> TrainingState:
        """State from its value on `glasses.state`; ValidationError if it is none."""
        stored = json.decode(value, type=_Stored)
        if sum(count for *_, count in stored.examples) > ADMITTED_MAX:
            raise ValidationError("training's state: found more examples than it may name")
        examples = frozenset(
            format_id(source, stream, number)
            for source, stream, first, count in stored.examples
            for number in range(first, first + count)
        )
        return cls(
            stored.version,
            stored.admitted,
            stored.policy_version,
            stored.consents_taken,
            examples,
            stored.now_ns,
            stored.left_out,
            # Before versions were compared, the newest one served.
            stored.serving or stored.version,
            stored.rolled_back_ns,
            stored.owed,
            stored.withdrawn,
            stored.left_behind,
        )

    def dump(self) -> bytes:
        """Value on `glasses.state`."""
        numbers: dict[tuple[str, str], list[int]] = {}
        for example in map(EventId.parse, self.examples):
            numbers.setdefault((example.source, example.stream), []).append(example.number)
        runs = [
            [*stream, run.first, run.count]
            for stream, some in sorted(numbers.items())
            for run in consecutive(sorted(some))
        ]
        return orjson.dumps(
            {
                "version": self.version,
                "admitted": self.admitted,
                "now_ns": self.now_ns,
                "policy_version": self.policy_version,
                "consents_taken": self.consents_taken,
                "examples": runs,
                "left_out": self.left_out,
                "serving": self.serving,
                "rolled_back_ns": self.rolled_back_ns,
                "owed": self.owed,
                "withdrawn": self.withdrawn,
                "left_behind": self.left_behind,
            }
        )


def _place(example: str) -> tuple[str, str, int]:
    event = EventId.parse(example)
    return event.source, event.stream, event.number


class _Stored(Struct):
    """The form on `glasses.state`; `examples` are runs (source, stream, first, count)."""

    version: Number
    admitted: Number
    examples: list[tuple[str, str, Number, Number]]
    policy_version: str = ""
    consents_taken: Number = 0
    now_ns: Number = 0
    left_out: tuple[str, ...] = ()
    serving: Number = 0
    rolled_back_ns: Number = 0
    owed: bool = False
    withdrawn: Versions = ()
    left_behind: Versions = ()
