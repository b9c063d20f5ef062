"""A simulated household in front of the pure pipeline: it asks, hears answers, and gives feedback.

Everything between a query and the next model version is what a worker runs (zones, assistant, feedback, gate,
training); only Kafka, its timing and the clock are left out, as in a replay. So the same draw gives the same
versions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from device_sim import scenarios
from device_sim.draw import Draw
from device_sim.files import read_answer
from device_sim.wearer import Queries, Wearer
from streams.events.batch import Batch, Context
from streams.events.codec import encode
from streams.events.digest import digest
from streams.events.headers import envelope
from streams.events.identity import format_id
from streams.events.record import Fetch, Outgoing, StoredRecord
from streams.events.runs import Run
from streams.lineage.rows import rows_in
from streams.models.version import CURRENT_KEY, ModelVersion, ids_of
from streams.policy.policy import Policy
from streams.replay import Replay
from streams.topology import ANSWERS, CAPTURED, LINEAGE, MODELS
from streams.training.lesson import Lesson
from streams.training.seed import LICENCE, Examples, Licensed

WEARERS = 4
ATTACKER = f"g{WEARERS + 1}"  #: the device of an attack
SCENARIO = "glasses"  #: whose forms of feedback and delay are played
ROUND_NS = 6_000_000_000  #: from one query of a wearer to the next
_BEGIN_NS = 1_790_000_000_000_000_000
_PURPOSES = "dpv:RequestedServiceProvision dpv:ServicePersonalisation ai:ModelTraining"
_HOME = Context("home", "nobody", minor_near=False, capture_light=False, worn=True, consent=1)


def licensed_of(draw: Draw) -> Licensed:
    """Seed and validation set of a draw, as training takes them."""

    def examples(pairs: Sequence[tuple[str, str]]) -> Examples:
        return Examples(
            tuple(pairs), digest("\n".join(f"{text},{intent}" for text, intent in pairs).encode()), LICENCE
        )

    return Licensed(examples(draw.seed), examples(draw.validation))


@dataclass(frozen=True, slots=True)
class Attack:
    """What one more device does, ATTACKER, beside the honest ones.

    It asks `queries` in each round, of the intents `intents` if they are named and otherwise of all, always
    the same one if `same`; it gives each feedback `times` times, and says the opposite if it `lies`.
    """

    name: str
    queries: int = 1
    intents: tuple[str, ...] = ()
    same: bool = False
    times: int = 1
    lies: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: the device and the number of its query, the version that gave it, what it was asked."""

    device: str
    number: int
    version: int
    utterance: str
    intent: str


class _Same(Queries):
    """A loudspeaker that plays one recording for ever."""

    def query(self, number: int) -> tuple[str, str]:
        """(utterance, annotated intent), the same for each number."""
        del number
        return super().query(0)


class Household:
    """WEARERS wearers with a device each, who ask all queries of a draw once, in turns.

    A version is trained after `every` admitted examples, under `policy`. With an attack, there is one more
    wearer. `write` gets all records that the pipeline writes. `told` are the answers in the order in which
    they were given, and `named` the name and subject of each check of a run that did not simply pass.
    """

    def __init__(
        self,
        draw: Draw,
        policy: Policy,
        every: int,
        attack: Attack | None = None,
        write: Callable[[Sequence[Outgoing]], None] | None = None,
    ) -> None:
        self._rounds, self._seed = len(draw.queries) // WEARERS, draw.seed
        talk = scenarios.load(SCENARIO).talk
        self._delay_ns = talk.feedback_delay_ns
        # How often in a round, and each feedback, of devices that do it more than once.
        self._asks, self._gives = dict[str, int](), dict[str, int]()

        def wearer(device: str, queries: Queries, *, lies: bool = False) -> Wearer:
            spoken, number = draw.spoken, draw.number
            return Wearer(device, talk, queries, number, hears_answers=True, spoken=spoken, lies=lies)

        self._wearers = {
            f"g{i + 1}": wearer(
                f"g{i + 1}", Queries(talk.query_recording, draw.number, i, WEARERS, draw.queries)
            )
            for i in range(WEARERS)
        }
        if attack is not None:
            pairs = [pair for pair in draw.queries if not attack.intents or pair[1] in attack.intents]
            asks = _Same if attack.same else Queries
            queries = asks(talk.query_recording, draw.number, 0, 1, pairs[::-1])
            self._wearers[ATTACKER] = wearer(ATTACKER, queries, lies=attack.lies)
            self._asks[ATTACKER], self._gives[ATTACKER] = attack.queries, attack.times
        self._offset, self._numbers = 0, dict[tuple[str, str], int]()
        self._written: list[Outgoing] = []
        self.told: list[Told] = []
        self._asked: dict[tuple[str, int], str] = {}
        self.named: set[tuple[str, str]] = set()

        def both(records: Sequence[Outgoing]) -> None:
            self._written.extend(records)
            if write is not None:
                write(records)

        self._replay = Replay(policy, both, every, licensed=licensed_of(draw))

    async def live(self) -> list[ModelVersion]:
        """Let them ask everything; return all model versions, the first of the seed, in order."""
        return [version async for versions in self.turns(self._rounds) for version in versions]

    @property
    def state_bytes(self) -> int:
        """Bytes of what the agents would save on `glasses.state` now."""
        return sum(map(len, self._replay.saved()))

    async def turns(self, count: int) -> AsyncIterator[list[ModelVersion]]:
        """Let them ask in `count` rounds; yield the model versions of the beginning, and those of each round.

        Who has asked everything begins again.
        """
        self._replay.begin([(device, f"w{device[1:]}") for device in self._wearers], _BEGIN_NS)
        await self._play([self._consent(device) for device in self._wearers], _BEGIN_NS)
        yield self._versions()
        for number in range(count):
            await self._round(_BEGIN_NS + (number + 1) * ROUND_NS)
            yield self._versions()

    async def _round(self, asked_ns: int) -> None:
        heard_ns = asked_ns + self._delay_ns
        await self._play(
            [
                self._query(device, wearer, asked_ns)
                for device, wearer in self._wearers.items()
                for _ in range(self._asks.get(device, 1))
            ],
            asked_ns,
        )
        for told in self._answers():
            self._wearers[told.device].answered(told.number, told.intent, asked_ns)
            self.told.append(told)
        given = [
            self._batch(
                device, "feedback", {name: [value] for name, value in reaction.columns.items()}, heard_ns
            )
            for device, wearer in self._wearers.items()
            for reaction in wearer.due(heard_ns + 1)
            for _ in range(self._gives.get(device, 1))
        ]
        await self._play(given, heard_ns)

    async def _play(self, batches: Sequence[Batch], now_ns: int) -> None:
        """Process batches as one fetch, which the broker appended at `now_ns`."""
        records = [
            StoredRecord(
                self._offset + at,
                now_ns // 1_000_000,
                batch.source.encode(),
                encode(batch),
                tuple(envelope(batch)),
            )
            for at, batch in enumerate(batches)
        ]
        self._offset += len(records)
        if records:
            await self._replay.process(Fetch(CAPTURED, 0, records))

    def learned(self, version: ModelVersion) -> tuple[list[str], Lesson]:
        """(ids, lesson) of what a version was fitted on, by its manifest; the seed's examples have no id."""
        known = set(ids_of(version.manifest.admitted))
        seed = Lesson.of_nobody(self._seed)
        pairs, devices, agreements = list(seed.pairs), list(seed.devices), list(seed.agreements)
        ids = list(devices)
        for record in self._replay.examples:
            fields = orjson.loads(record.value or b"")
            columns = fields["columns"]
            example = format_id(fields["device_id"], fields["stream"], fields["first"])
            if example in known:
                ids.append(example)
                pairs.append((columns["utterance"][0], columns["intent"][0]))
                devices.append(fields["device_id"])
                agreements.append(1.0 if columns["agreement"][0] is None else columns["agreement"][0])
        return ids, Lesson(pairs, [device.replace("g", "w") for device in devices], devices, agreements)

    def _answers(self) -> list[Told]:
        """The answers that were written since the last versions."""
        return [
            Told(device, number, version, self._asked[device, number], intent)
            for record in self._written
            if record.topic == ANSWERS
            for (device, _, number, intent), version in zip(
                read_answer(record.value),
                orjson.loads(record.value or b"")["columns"]["model_version"],
                strict=True,
            )
        ]

    def _versions(self) -> list[ModelVersion]:
        """Model versions that were written since the last call; what was written is let go."""
        self.named |= {
            (row["name"], row["subject"])
            for record in self._written
            if record.topic == LINEAGE
            for row in rows_in(record.value, "training_checks")
            if row["outcome"] != "passed"
        }
        made = [
            ModelVersion.load(record.value)
            for record in self._written
            if record.topic == MODELS and record.key != CURRENT_KEY
        ]
        self._written.clear()
        return made

    def _consent(self, device: str) -> Batch:
        columns: dict[str, list[Any]] = {
            "consent": [1],
            "status": ["dpv:ConsentGiven"],
            "purposes": [_PURPOSES],
            "principal": [None],
            "expires_ns": [None],
        }
        return self._batch(device, "consent_change", columns, _BEGIN_NS)

    def _query(self, device: str, wearer: Wearer, t_ns: int) -> Batch:
        number = self._numbers.get((device, "voice_query"), 0)
        utterance, _ = wearer.ask(number, t_ns)
        self._asked[device, number] = utterance
        columns = {"trigger": ["wake-word"], "language": ["en"], "text": [utterance]}
        return self._batch(device, "voice_query", columns, t_ns)

    def _batch(self, device: str, kind: str, columns: Mapping[str, Sequence[Any]], t_ns: int) -> Batch:
        """One event of a device, with the next number of its stream."""
        number = self._numbers.get((device, kind), 0)
        self._numbers[device, kind] = number + 1
        return Batch(
            kind=kind,
            source=device,
            wearer_id=f"w{device[1:]}",
            session_id="s1",
            stream=kind.replace("_", "-"),
            run=Run(number, 1, 1),
            t0_ns=t_ns,
            dt_ns=0,
            origin="playback:nlu-utterances",
            context=_HOME,
            columns=columns,
        )
