"""Random worlds: several wearers, some of whom share glasses, ask, react, and change their minds.

What they send is one topic, drawn from a seed. Nothing in it was made by the pipeline, so it can be replayed
as it is, or without all that one of them sent.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from msgspec import structs

from streams.events.batch import Batch, Context
from streams.events.digest import digest
from streams.events.record import Fetch, StoredRecord
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.topology import CAPTURED
from streams.training.seed import LICENCE, Examples, Licensed
from tests import build
from tests.policy.days import NEAR, PLACES

SECOND_NS = 10**9
#: Words that a wearer says, each with what is meant; the seed knows others, so versions differ in these.
SAID = (
    ("wake me at seven", "alarm_set"),
    ("ring me out of bed early", "alarm_set"),
    ("will it rain", "weather_query"),
    ("do i need a coat", "weather_query"),
    ("play some jazz", "play_music"),
    ("put on the beatles", "play_music"),
    ("what is on my list", "lists_createoradd"),
    ("turn the lights off", "iot_hue_lightoff"),
)
#: What they say about answers; of the last ones the seed knows no word.
REACTIONS = (
    ("that was great", "general_praise"),
    ("well done thank you", "general_praise"),
    ("no that is wrong", "general_negate"),
    ("say that again", "general_repeat"),
    ("stop it now", "general_commandstop"),
    ("you did alright", "general_praise"),
    ("lovely", "general_praise"),
    ("nope", "general_negate"),
)
SEED = (
    ("set an alarm", "alarm_set"),
    ("how is the weather", "weather_query"),
    ("play music", "play_music"),
    ("add milk to the list", "lists_createoradd"),
    ("lights off please", "iot_hue_lightoff"),
    *((text, intent) for text, intent in REACTIONS[:-3] for _ in range(2)),
)
#: So that a fit takes milliseconds, and each example matters.
LICENSED = Licensed(
    *(
        Examples(some, digest(repr(some).encode()), LICENCE)
        for some in (SEED, (("alarm for six", "alarm_set"), ("is it sunny", "weather_query")))
    )
)
#: Kinds to draw from; those that situations, answers and examples need are frequent.
KINDS = ("imu", "location", "gaze", *("voice_query",) * 4, *("feedback",) * 5, "device_state")
FORMS = ("thumb", "choice", "choice", "spoken", "spoken", "rating")


@dataclass(frozen=True, slots=True)
class World:
    """What was sent, in the order in which the broker appended it, and (device, wearer) that are paired."""

    seed: int
    records: Sequence[StoredRecord]
    wearers: Sequence[str]
    pairs: Sequence[tuple[str, str]]
    policy: Policy

    def fetches(self, without: str = "") -> list[Fetch]:
        """The records, but for those that a wearer sent, as fetches; what was one before stays one."""
        kept = [(fetch, record) for fetch, (record, of) in self._parted() if of != without]
        return [
            Fetch(CAPTURED, 0, [record for _, record in some])
            for _, some in itertools.groupby(kept, lambda each: each[0])
        ]

    def _parted(self) -> Sequence[tuple[int, tuple[StoredRecord, str]]]:
        return [
            (record.timestamp // 4000, (record, build.CODEC.decode(record.value, 0, 0).wearer_id))
            for record in self.records
        ]


@cache
def policies() -> Sequence[Policy]:
    """That of the demo, one under which runs are held, and one that withholds answers from strangers."""
    text = build.policy().text
    before, zones, after = text.partition("[[zones]]")
    held = "[training]\nexamples_min = 4\nwearer_percent_max = 70\nintent_percent_max = 60\n"
    silent = """[[withheld]]
name = "weather"
about = "A test."
when = "people_near != 'nobody' && (intent == 'weather_query' || confidence_percent < 40)"
"""
    return build.policy(), *(parse(before + part + zones + after, "worlds") for part in (held, silent))


def drawn(seed: int, batches: int = 240) -> World:
    """Draw a world. Most batches are a query or a reaction, so that versions follow each other quickly."""
    return _Drawing(seed, batches).world()


class _Drawing:
    def __init__(self, seed: int, batches: int) -> None:
        self.draw = draw = random.Random(f"world/{seed}")
        self.seed, self.batches, self.t_ns = seed, batches, build.T0_NS
        count = draw.randint(2, 4)
        self.wearers = [f"w{number}" for number in range(1, count + 1)]
        #: How often somebody else puts glasses on, and how often a batch is delayed.
        self.swaps, self.late = draw.choice((0.03, 0.25, 0.5)), draw.choice((0.0, 0.04, 0.1))
        self.worn = {f"g{number}": {f"w{number}"} for number in range(1, count + 1)}
        for device in self.worn:
            if draw.random() < 0.7:
                self.worn[device].add(draw.choice(self.wearers))
        self.on = {device: f"w{device[1:]}" for device in self.worn}
        self.session = Counter(dict.fromkeys(self.worn, 1))
        self.around: dict[str, Context] = {device: build.context() for device in self.worn}
        self.next: Counter[tuple[str, str]] = Counter()
        self.given: Counter[tuple[str, str]] = Counter()
        self.asked: dict[str, list[str]] = {device: [] for device in self.worn}
        self.sent: list[Batch] = []

    def world(self) -> World:
        pairs = [(device, wearer) for device, worn in self.worn.items() for wearer in sorted(worn)]
        for device, wearer in pairs:
            self._say(device, wearer)
        for _ in range(self.batches):
            self._add()
        records, taken_ns = list[StoredRecord](), 0
        for batch in self._arrived():
            taken_ns = max(taken_ns, batch.t0_ns + self.draw.randint(0, SECOND_NS))
            records.append(build.record(batch, len(records), timestamp=taken_ns // 1_000_000))
        return World(self.seed, records, self.wearers, pairs, policies()[self.seed % 3])

    def _arrived(self) -> list[Batch]:
        """In another order than sent here and there, and some of them twice."""
        draw, sent = self.draw, list(self.sent)
        for at in range(len(sent) - 6):
            if draw.random() < self.late:
                sent.insert(at + draw.randint(1, 5), sent.pop(at))
            if draw.random() < 0.02:
                sent.insert(at + draw.randint(1, 5), sent[at])
        return sent

    def _add(self) -> None:
        draw = self.draw
        device = draw.choice(sorted(self.worn))
        if draw.random() < self.swaps:
            self.on[device] = draw.choice(sorted(self.worn[device]))
            if draw.random() < 0.5:
                self.session[device] += 1
        if draw.random() < 0.15:
            self.around[device] = build.context(
                place=draw.choice((*PLACES, *("home",) * 5)),
                people_near=draw.choice((*NEAR, *("nobody",) * 4)),
                minor_near=draw.random() < 0.05,
            )
        if draw.random() < 0.02:
            self._say(device, self.on[device], withdrawn=draw.random() < 0.3)
        kind = draw.choice(KINDS)
        if kind == "voice_query":
            self._query(device)
        elif kind == "feedback":
            self._feedback(device)
        elif kind == "device_state":
            said: dict[str, list[Any]] = {"session": [draw.choice(("ended", "running"))], "thermal": ["cool"]}
            self._send(device, kind, 1, said)
        else:
            self._send(device, kind, {"imu": draw.randint(5, 60), "location": 5, "gaze": 20}[kind], {})

    def _send(self, device: str, kind: str, count: int, columns: dict[str, list[Any]], **more: Any) -> None:
        self.t_ns += SECOND_NS
        made = build.batch(kind, None, self.next[device, kind], count, source=device, columns=columns)
        self.next[device, kind] += count
        wearer = more.get("wearer", self.on[device])
        around = structs.replace(self.around[device], consent=self.given[device, wearer])
        session = f"s{self.session[device]}"
        self.sent.append(
            structs.replace(made, t0_ns=self.t_ns, wearer_id=wearer, session_id=session, context=around)
        )

    def _say(self, device: str, wearer: str, *, withdrawn: bool = False) -> None:
        number = self.given[device, wearer] + 1
        columns = dict(build.gives(number, 0, 0).columns)
        if withdrawn:
            columns |= {"status": ["dpv:ConsentWithdrawn"], "purposes": [""]}
        self.given[device, wearer] = number
        self._send(device, "consent_change", 1, columns, wearer=wearer)  # type: ignore[arg-type]

    def _query(self, device: str) -> None:
        count = self.draw.choice((1, 1, 1, 2))
        first = self.next[device, "voice_query"]
        self.asked[device] += [f"{device}/answer/{first + at}" for at in range(count)]
        columns: dict[str, list[Any]] = {
            "text": [self.draw.choice(SAID)[0] for _ in range(count)],
            "trigger": ["button"] * count,
            "language": ["en"] * count,
        }
        self._send(device, "voice_query", count, columns)

    def _feedback(self, device: str) -> None:
        if not self.asked[device]:
            return
        columns: dict[str, list[Any]] = {
            "target": [self.draw.choice(self.asked[device][-4:])],
            "form": [self.draw.choice(FORMS)],
            "thumb": [1],
            "chosen_intent": [self.draw.choice(SAID)[1]],
            "text": [self.draw.choice(REACTIONS)[0]],
            "rating": [self.draw.randint(2, 4)],
            "second_rating": [3],
        }
        self._send(device, "feedback", 1, columns)
