"""The whole loop, for several generations.

Labels neither loosen nor permit less each time, whatever is offered to the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from streams.consent.record import learn_consent
from streams.events.batch import Batch
from streams.events.headers import LABEL
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.models.version import ModelVersion
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.training_state import TrainingState
from streams.policy import label as lattice
from streams.replay import fit_here
from streams.topology import ANSWERS, CAPTURED, CONSENTS, EXAMPLES, MODELS
from tests import build

POLICY = build.policy()
GENERATIONS, GOOD = 6, 3
DAY_NS = 86_400_000_000_000
SAID = (
    ("wake me at seven", "alarm_set"),
    ("will it rain", "weather_query"),
    ("play some jazz", "play_music"),
)
#: Examples that are offered additionally in every generation, and the rule that must refuse each.
ODD = {
    "health": "sinks.training-run: purpose ai:ModelTraining is not permitted",
    "expired": "retention: it is over",
    "withdrawn": "consent: it is withdrawn",
    "training only": "gate: the example does not permit what the model serves",
}


class Loop:
    """Both agents and everything between them, one fetch after the other."""

    def __init__(self) -> None:
        self.followed = build.followed()
        self.glasses, self.examples = LiveGlasses(self.followed), list[Received]()
        self.training = LiveTraining(self.followed, self._history, fit_here, GOOD)
        self.state, self.learned, self.offset = build.begun(), TrainingState(), 0
        self.written: list[Outgoing] = []

    async def _history(self, offset: int) -> Sequence[Received]:
        return self.examples[: offset + 1]

    def live(self, batches: Sequence[Batch]) -> list[Outgoing]:
        """Process one fetch; returns the examples that it made."""
        records = [build.record(batch, self.offset + at) for at, batch in enumerate(batches)]
        self.offset += len(records)
        outcome = build.step(self.glasses, self.state, Fetch(CAPTURED, 0, records))
        self.state = outcome.state
        self.written += outcome.outputs
        for one in outcome.outputs:
            if one.topic == CONSENTS:
                offset = self.followed.consents.offset
                learn_consent(
                    self.followed.consents, StoredRecord(offset, one.timestamp_ms, one.key, one.value)
                )
        return [one for one in outcome.outputs if one.topic == EXAMPLES]

    def learn(self, examples: Sequence[Outgoing]) -> None:
        """Offer examples to the gate, and let the resulting model version serve."""
        records = [
            StoredRecord(len(self.examples) + at, one.timestamp_ms, one.key, one.value, tuple(one.headers))
            for at, one in enumerate(examples)
        ]
        self.examples += records
        outcome = build.step(self.training, self.learned, Fetch(EXAMPLES, 0, records))
        self.learned = outcome.state
        self.written += outcome.outputs
        for one in outcome.outputs:
            if one.topic == MODELS:
                self.followed.models.learn(one.key, one.value)


def turn(number: int, source: str, t_ns: int, **around: object) -> list[Batch]:
    text, intent = SAID[number % len(SAID)]
    return [
        build.query(number, text, t_ns, source=source, **around),
        build.feedback(number, f"{source}/answer/{number}", intent, t_ns + 10**9, source=source, **around),
    ]


def of(batches: Sequence[Batch], wearer: str) -> list[Batch]:
    return [structs.replace(batch, wearer_id=wearer) for batch in batches]


def training_only(example: Outgoing) -> Outgoing:
    """The example with the label of a zone that permits training, but no purpose that the model serves."""
    version, _, packed = dict(example.headers)[LABEL].decode().partition(":")
    narrow = lattice.unpack(bytes.fromhex(packed))
    narrow["purposes"] = POLICY.vocabulary.mask("purposes", ["ai:ModelTraining"])
    headers = [
        (name, f"{version}:{lattice.pack(**narrow).hex()}".encode() if name == LABEL else value)
        for name, value in example.headers
    ]
    return structs.replace(example, headers=headers)


def odd_ones(loop: Loop, number: int, t_ns: int) -> dict[str, Outgoing]:
    """One example of each kind in ODD, made by the pipeline itself."""
    (health,) = loop.live(turn(number, "g2", t_ns, place="clinic"))
    (young,) = loop.live(turn(number, "g3", t_ns))
    # Set its append time 200 days back.
    expired = structs.replace(young, timestamp_ms=young.timestamp_ms - 200 * DAY_NS // 1_000_000)
    wearer = f"w9{number}"
    (withdrawn,) = loop.live(of(turn(number, "g4", t_ns), wearer))
    taken_back = build.batch(
        "consent_change",
        None,
        number,
        1,
        source="g4",
        t0_ns=t_ns,
        columns={"consent": [1], "status": ["dpv:ConsentWithdrawn"], "purposes": [""]},
    )
    loop.live(of([taken_back], wearer))
    (plain,) = loop.live(turn(number, "h1", t_ns))
    return {
        "health": health,
        "expired": expired,
        "withdrawn": withdrawn,
        "training only": training_only(plain),
    }


def test_labels_neither_loosen_nor_collapse_over_generations() -> None:
    loop = Loop()
    for generation in range(GENERATIONS):
        t_ns = build.T0_NS + generation * 3_600 * 10**9
        odd = odd_ones(loop, generation, t_ns)
        good = [
            one
            for at in range(GOOD)
            for one in loop.live(turn(generation * GOOD + at, "g1", t_ns + at * 10**10))
        ]
        assert len(good) == GOOD
        # They are in the middle, so that a run would begin too early if they counted.
        loop.learn([*good[:1], *odd.values(), *good[1:]])
    versions = [
        ModelVersion.load(one.value)
        for one in loop.written
        if one.topic == MODELS and one.key != b"model/current"
    ]
    assert [version.version for version in versions] == list(range(2, GENERATIONS + 2))
    check_models(versions)
    check_refused(loop.written)
    answers = [one for one in loop.written if one.topic == ANSWERS]
    assert len(answers) == GENERATIONS * (GOOD + len(ODD))
    print_creep(loop)


def check_models(versions: Sequence[ModelVersion]) -> None:
    """A model permits what its examples permit, in every generation.

    The declassifier changes only the retention.
    """
    labels = [lattice.unpack(version.label) for version in versions]
    every = POLICY.label_of("voice_query", "voice-assistant") or b""
    example = lattice.unpack(POLICY.inherited_label("example", (every,)))
    for version, label in zip(versions, labels, strict=True):
        assert label["purposes"] == example["purposes"], f"version {version.version} permits something else"
        assert label["subjects"] == POLICY.vocabulary.mask("subjects", ["wearer"])
        assert {source for source, _, _ in version.manifest.admitted} == {"g1"}
        assert POLICY.vocabulary.retention(version.label) == "year"
        assert dict(version.manifest.wearers) == {"w1": [1]}
    assert len({version.label for version in versions}) == 1


def check_refused(written: Sequence[Outgoing]) -> None:
    by_source = {"g2": "health", "g3": "expired", "g4": "withdrawn", "h1": "training only"}
    rows = [
        row
        for row in build.lineage(written)["decisions"]
        if row["sink"] == "training-run" and row["source"] in by_source
    ]
    last: Mapping[tuple[str, int], str] = {
        (row["source"], row["first"]): row["rule"] for row in rows if row["verdict"] == "deny"
    }
    assert len(last) == len(ODD) * GENERATIONS
    for (source, _), rule in last.items():
        assert rule == ODD[by_source[source]]


def print_creep(loop: Loop) -> None:
    rows = build.lineage(loop.written)["events"]
    for kind in ("voice_query", "situation", "answer", "example", "model"):
        labels = [bytes.fromhex(row["label"]) for row in rows if row["kind"] == kind]
        purposes = [one["purposes"].bit_count() for one in map(lattice.unpack, labels)]
        print(f"{kind}: {len(set(labels))} labels, {sum(purposes) / len(purposes):.2f} purposes on average")  # noqa: T201
