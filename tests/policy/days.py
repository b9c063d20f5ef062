"""Random days of two devices through the whole glasses core: what they sent, and what the core wrote."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from functools import cache

from msgspec import structs

from streams.events.batch import Batch, Context, PeopleNear, Place
from streams.events.record import Fetch, Outgoing, StoredRecord
from streams.models.intent import IntentModel
from streams.policy import label as lattice
from streams.topology import CAPTURED
from tests import build

SECOND_NS = 10**9
PLACES: tuple[Place, ...] = ("home", "home", "work", "street", "cafe", "clinic", "unknown")
NEAR: tuple[PeopleNear, ...] = ("nobody", "nobody", "household", "strangers")
SAID = (
    ("wake me at seven", "alarm_set"),
    ("will it rain", "weather_query"),
    ("play some jazz", "play_music"),
)
#: Kinds to draw from; those that situations, answers and examples need are frequent.
KINDS = ("imu", "imu", "location", "gaze", "voice_query", "voice_query", "feedback", "feedback", "other")
FORMS = ("thumb", "choice", "spoken", "rating")
#: Zone and obligation of the model on the days when it has ones that nothing else has.
NARROW_ZONE, NARROW_OBLIGATION = "bystander-present", "local:NoExport"


@cache
def praise(model: IntentModel) -> str:
    """Words that the model recognizes as praise with a confidence above 0.5."""
    said = ("thanks that was great", "well done", "good job", "perfect thank you", "great answer thank you")
    return next(
        text
        for text in said
        for intent, sure in model.predict([text])
        if intent == "general_praise" and sure > 0.5
    )


class Day:
    """Draws what two devices send: a batch per second, which the broker appends up to a second later."""

    def __init__(self, seed: int, spoken: str) -> None:
        self.draw, self.spoken = random.Random(seed), spoken
        self.records: list[StoredRecord] = []
        self._next: dict[tuple[str, str], int] = {}
        self._asked: dict[str, list[str]] = {"g1": [], "g2": []}
        self._incarnation = dict.fromkeys(self._asked, 1)
        self._around = {source: build.context() for source in self._asked}
        self._given = dict.fromkeys(self._asked, 1)
        self.t_ns = build.T0_NS
        for source in self._asked:
            self._say(source, 2)

    def add(self) -> None:
        """Send one more batch."""
        draw = self.draw
        source = draw.choice(("g1", "g1", "g1", "g2"))
        if draw.random() < 0.25:
            self._around[source] = self._context(source)
        if draw.random() < 0.015 and self._incarnation[source] == 1:
            self._incarnation[source] = 2
            self._asked[source].clear()
            self._given[source] = 0
            self._say(source, 1)
        if draw.random() < 0.03:
            self._say(source, self._given[source] + 1)
        kind = draw.choice(KINDS)
        if kind == "voice_query":
            self._query(source)
        elif kind == "feedback":
            self._feedback(source)
        elif kind == "other":
            self._other(source)
        else:
            count = {"imu": draw.randint(5, 60), "location": 5, "gaze": 20}[kind]
            self._send(build.batch(kind, self._named(source, kind), 0, count), source)

    def _context(self, source: str) -> Context:
        draw = self.draw
        numbers = sorted({1, max(1, self._given[source] - 1), self._given[source]})
        return build.context(
            place=draw.choice(PLACES),
            people_near=draw.choice(NEAR),
            minor_near=draw.random() < 0.1,
            consent=draw.choice(numbers),
        )

    def _named(self, source: str, kind: str) -> str:
        name = "imu-right" if kind == "imu" else kind.replace("_", "-")
        return name if self._incarnation[source] == 1 else f"{name}~{self._incarnation[source]}"

    def _send(self, made: Batch, source: str) -> None:
        """Send a batch with the next numbers of its stream; sometimes another person wears the glasses."""
        name = source, made.stream
        self.t_ns += SECOND_NS
        run = structs.replace(made.run, first=self._next.get(name, 0))
        self._next[name] = run.first + run.count
        wearer = "w2" if made.kind != "consent_change" and self.draw.random() < 0.1 else "w1"
        sent = structs.replace(
            made,
            source=source,
            run=run,
            t0_ns=self.t_ns,
            wearer_id=wearer,
            context=self._around[source],
        )
        taken_ms = (self.t_ns + self.draw.randint(0, SECOND_NS)) // 1_000_000
        self.records.append(build.record(sent, len(self.records), timestamp=taken_ms))

    def _say(self, source: str, number: int) -> None:
        """Send a change of consent; most of them give consent."""
        made = build.gives(number, 0, 0, self._named(source, "consent_change"))
        if number > 2 and self.draw.random() < 0.3:
            taken = {**made.columns, "status": ["dpv:ConsentWithdrawn"]}
            made = structs.replace(made, columns=taken)
        self._given[source] = number
        self._send(made, source)
        self._around[source] = structs.replace(self._around[source], consent=number)

    def _query(self, source: str) -> None:
        stream, count = self._named(source, "voice_query"), self.draw.choice((1, 1, 1, 2))
        first = self._next.get((source, stream), 0)
        answer = stream.replace("voice-query", "answer")
        self._asked[source] += [f"{source}/{answer}/{first + i}" for i in range(count)]
        columns = {
            "text": [self.draw.choice(SAID)[0] for _ in range(count)],
            "trigger": ["button"] * count,
            "language": ["en"] * count,
        }
        self._send(build.batch("voice_query", stream, 0, count, columns=columns), source)

    def _feedback(self, source: str) -> None:
        if not self._asked[source]:
            return
        columns: dict[str, list[object]] = {
            "target": [self.draw.choice(self._asked[source][-3:])],
            "form": [self.draw.choice(FORMS)],
            "thumb": [1],
            "chosen_intent": [self.draw.choice(SAID)[1]],
            "text": [self.spoken],
            "rating": [4],
            "second_rating": [3],
        }
        self._send(build.batch("feedback", self._named(source, "feedback"), 0, 1, columns=columns), source)

    def _other(self, source: str) -> None:
        if self.draw.random() < 0.7:
            count = self.draw.choice((1, 1, 2))
            made = build.batch("erasure_request", self._named(source, "erasure_request"), 0, count)
            self._send(made, source)
        else:
            columns: dict[str, list[object]] = {"session": ["ended"], "thermal": ["cool"]}
            made = build.batch("device_state", self._named(source, "device_state"), 0, 1, columns=columns)
            self._send(made, source)


def played(seed: int, batches: int, *, narrow: bool) -> tuple[Sequence[StoredRecord], list[Outgoing]]:
    """(records sent, records written) on the day that `seed` draws, in fetches of random size.

    `narrow`: the serving model has a label and a zone that are visible in everything that is made with it.
    """
    core = build.core()
    served = build.version(core)
    if narrow:
        said = lattice.unpack(served.label)
        said["obligations"] |= build.policy().vocabulary.mask("obligations", (NARROW_OBLIGATION,))
        core = build.serving(dataclasses.replace(served, label=lattice.pack(**said), zone=NARROW_ZONE))
    day = Day(seed, praise(served.model))
    for _ in range(batches):
        day.add()
    fetches, at = list[Fetch](), 0
    while at < len(day.records):
        size = day.draw.randint(1, 20)
        fetches.append(Fetch(CAPTURED, 0, day.records[at : at + size]))
        at += size
    written, _ = build.process(core, fetches)
    return day.records, written
