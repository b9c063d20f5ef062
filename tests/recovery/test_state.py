"""A partition changes owner at every point of a life.

Checkpoint and silent run give the state and the outputs of an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams.events.batch import Batch
from streams.events.record import Fetch, Outgoing, StoredRecord
from streams.limits import (
    DEVICE_STATE_BYTES_MAX,
    SEEN_RANGES_MAX,
    STREAMS_PER_DEVICE_MAX,
    TEXT_CHARACTERS_MAX,
)
from streams.models.intent import IntentModel
from streams.models.version import CURRENT_KEY
from streams.pipeline.live import LiveGlasses, LiveTraining
from streams.pipeline.partition import PartitionState
from streams.pipeline.training_state import TrainingState
from streams.topology import CAPTURED, EXAMPLES, MODELS
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES, no_fit

VERSIONS = (1, 2, 3)
TEXTS = ["wake me at seven", "play some jazz", "will it rain", "what is on my list"]
FORMS = [
    ("thumb", "alarm_set", None, None),
    ("choice", "play_music", None, None),
    ("spoken", None, "thank you very much", None),
    ("spoken", None, "no that was wrong", None),
    ("rating", None, None, 4),
    ("rating", None, None, 1),
]


def core_of_three() -> LiveGlasses:
    """A core that knows three model versions, which answer differently."""
    made = build.core()
    first = build.version(made)
    for number in VERSIONS[1:]:
        model = first.model
        turned = IntentModel(model.intents, model.weights, np.roll(model.bias, number) * 5)
        later = replace(first, version=number, model=turned)
        made.followed.models.learn(f"model/{number}".encode(), later.dump())
    return made


CORE = core_of_three()


def serve(number: int) -> None:
    """Point the core to one of its versions."""
    CORE.followed.models.learn(CURRENT_KEY, b'{"version":%d}' % number)


@dataclass
class Numbers:
    """Next number by stream, and the answers that feedback can be about.

    The numbers are where a hole, a repeat or a late batch comes from.
    """

    next: dict[str, int]
    answers: list[tuple[str, str, int]]

    def take(self, stream: str, count: int, how: str) -> int:
        at = self.next.get(stream, 0)
        first = {
            "next": at,
            "hole": at + 7,
            "repeat": max(at - count, 0),
            "late": max(at - 2 * count - 3, 0),
        }[how]
        self.next[stream] = max(at, first + count)
        return first


@st.composite
def batches(draw: st.DrawFn, numbers: Numbers, second: int) -> Batch:
    """One batch of any kind that the stages look at."""
    kind = draw(
        st.sampled_from(
            [
                "imu",
                "imu",
                "gaze",
                "location",
                "audio_level",
                "voice_query",
                "voice_query",
                "feedback",
                "feedback",
                "device_state",
            ]
        )
    )
    source, again = draw(st.sampled_from(["g1", "g2"])), draw(st.sampled_from(["", "", "", "~2"]))
    about = draw(st.sampled_from(numbers.answers))
    if kind == "feedback":
        source, again = about[:2]
    how = draw(st.sampled_from(["next", "next", "next", "hole", "repeat", "late"]))
    count = {"imu": 60, "gaze": 40, "location": 3, "audio_level": 30}.get(kind, 1)
    stream = {"imu": "imu-right"}.get(kind, kind.replace("_", "-")) + again
    first = numbers.take(f"{source}/{stream}", count, how)
    spread = draw(st.sampled_from([0.1, 1.2, 6.0]))
    form, chosen, text, rating = draw(st.sampled_from(FORMS))
    if kind == "voice_query":
        numbers.answers.append((source, again, first))
    columns: dict[str, dict[str, list[Any]]] = {
        "imu": {"accel_z_mps2": [9.8 + (spread if i % 2 else -spread) for i in range(count)]},
        "gaze": {"worn": [True] * count, "yaw_rad": [0.0001 * i for i in range(count)]},
        "location": {"latitude_deg": [48.0 + 0.01 * draw(st.integers(0, 3))] * count},
        "audio_level": {"rms_dbfs": [draw(st.sampled_from([-70.0, -30.0]))] * count},
        "voice_query": {"text": [draw(st.sampled_from(TEXTS))]},
        "feedback": {
            "target": [f"{about[0]}/answer{about[1]}/{about[2]}"],
            "form": [form],
            "thumb": [-1],
            "chosen_intent": [chosen],
            "text": [text],
            "rating": [rating],
            "second_rating": [rating],
        },
        "device_state": {"session": [draw(st.sampled_from(["started", "ended"]))]},
    }
    around: dict[str, Any] = draw(
        st.sampled_from([{}, {}, {}, {"place": "street"}, {"people_near": "strangers"}, {"consent": 0}])
    )
    changes = (
        [(count // 2, build.context(place="cafe"))] if count > 1 and draw(st.integers(0, 4)) == 0 else []
    )
    return build.batch(
        kind,
        stream,
        first,
        count,
        source=source,
        session=draw(st.sampled_from(["s1", "s1", "s2"])),
        t0_ns=build.T0_NS + second * 1_000_000_000,
        columns=columns[kind],
        changes=changes,
        **around,
    )


@dataclass(frozen=True, repr=False)
class Life:
    """Fetches of one partition.

    Before which of them a checkpoint was `due`, and which model version was `current` at each.
    """

    fetches: Sequence[Fetch]
    due: frozenset[int]
    current: Sequence[int]
    recut: int

    def __repr__(self) -> str:
        ids = [[dict(record.headers)["ce_id"].decode() for record in fetch.records] for fetch in self.fetches]
        return f"Life({ids}, due={set(self.due)}, current={self.current}, recut={self.recut})"


@st.composite
def lives(draw: st.DrawFn) -> Life:
    numbers = Numbers({}, [("g1", "", 0)])
    made = [draw(batches(numbers, second)) for second in range(draw(st.integers(8, 24)))]
    fetches = build.cut(made, draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    due = draw(st.frozensets(st.integers(0, len(fetches) - 1), max_size=3))
    steps = sorted(draw(st.lists(st.integers(0, len(fetches)), min_size=2, max_size=2)))
    current = [1 + sum(at >= step for step in steps) for at in range(len(fetches))]
    return Life(fetches, due, current, draw(st.integers(1, 7)))


@dataclass
class Owner:
    """What a transport does around a core, in memory.

    It keeps outputs by fetch, and the stored entries with their offset.
    """

    state: PartitionState
    saved: PartitionState | None
    stored: dict[str, bytes]
    offset: int

    def take(self, life: Life, at: int) -> Sequence[Outgoing]:
        """Process fetch number `at` for good."""
        fetch = life.fetches[at]
        serve(life.current[at])
        outcome = build.step(CORE, self.state, fetch)
        self.state = outcome.state
        if outcome.checkpoint or at in life.due or self.saved is None:
            self.stored |= CORE.save(self.saved, self.state)
            self.saved, self.offset = self.state, fetch.next_offset
        return outcome.outputs


def succeed(before: Owner, life: Life, committed: int) -> Owner:
    """Return the owner after `before` was killed with `committed` as the next offset.

    The newest model is known to it at once.
    """
    state = CORE.restore(0, before.stored) if before.offset else build.begun()
    missed = [
        record
        for fetch in life.fetches
        for record in fetch.records
        if before.offset <= record.offset < committed
    ]
    serve(VERSIONS[-1])
    for at in range(0, len(missed), life.recut):
        state = build.step(CORE, state, Fetch(CAPTURED, 0, missed[at : at + life.recut]), silent=True).state
    restored = CORE.restore(0, before.stored) if before.offset else None
    return Owner(state, restored, dict(before.stored), before.offset)


def dumped(state: PartitionState) -> dict[str, bytes]:
    return dict(CORE.save(None, state))


@given(lives())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),
)
def test_a_kill_at_every_point_changes_nothing(life: Life) -> None:
    undisturbed = Owner(build.begun(), None, {}, 0)
    outputs, states, owners = [], [dumped(undisturbed.state)], [replace(undisturbed, stored={})]
    for at in range(len(life.fetches)):
        outputs.append(undisturbed.take(life, at))
        states.append(dumped(undisturbed.state))
        owners.append(replace(undisturbed, stored=dict(undisturbed.stored)))
    for killed in range(1, len(life.fetches) + 1):
        successor = succeed(owners[killed], life, life.fetches[killed - 1].next_offset)
        assert dumped(successor.state) == states[killed]
        for at in range(killed, min(killed + 3, len(life.fetches))):
            assert successor.take(life, at) == outputs[at]
            assert dumped(successor.state) == states[at + 1]
    stored = {name: value for name, value in undisturbed.stored.items() if name in states[-1]}
    assert (
        dumped(CORE.restore(0, {**stored, **CORE.save(undisturbed.saved, undisturbed.state)})) == states[-1]
    )


def test_the_lives_come_past_everything_that_a_state_holds() -> None:
    """What the property is about happens in what is drawn: otherwise it would hold of nothing."""
    seen: set[str] = set()

    @given(lives())
    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def look(life: Life) -> None:
        owner = Owner(build.begun(), None, {}, 0)
        written = [record for at in range(len(life.fetches)) for record in owner.take(life, at)]
        seen.update(record.topic for record in written)
        seen.update(str(row["kind"]) for row in build.lineage(written).get("events", ()))
        seen.update(str(row["rule"]) for row in build.lineage(written).get("rejected", ()))
        seen.update(
            "understood"
            for row in build.lineage(written).get("edges", ())
            if (row["operator"], row["parent_source"]) == ("example", "training")
        )
        seen.update("take-up" for row in build.lineage(written).get("inputs", ()) if row["value"] != "1")
        for state in owner.state.devices.values():
            seen.update(f"window of {operator}" for operator in state.windows)
            seen.update({"hole"} if any(len(one.ranges) > 1 for one in state.seen.values()) else ())
            seen.update({"open answer"} if state.answers else ())

    look()
    assert seen >= {
        "activity",
        "fixation",
        "place",
        "speech",
        "situation",
        "answer",
        "example",
        "collision",
        "take-up",
        "hole",
        "open answer",
        "window of activity",
        "window of fixation",
        "window of place",
        "window of speech",
    }
    assert seen & {"negated", "asked-again", "stopped", "not-understood", "understood"}, (
        "spoken feedback reaches the model"
    )


@given(st.lists(st.integers(1, 4), min_size=3, max_size=6), st.integers(2, 5))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_training_goes_on_after_a_kill_at_every_point(sizes: list[int], every: int) -> None:
    async def history(offset: int) -> Sequence[Any]:
        return GOOD_EXAMPLES[: offset + 1]

    made: list[StoredRecord] = []

    async def recall(number: int) -> None:
        core.followed.models.recall(number, made)

    core = LiveTraining(build.followed(), history, no_fit, every)
    core.followed.recall = recall
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    fetches = [Fetch(EXAMPLES, 0, GOOD_EXAMPLES[a:b]) for a, b in pairwise(ends) if GOOD_EXAMPLES[a:b]]
    states, outputs = (
        [TrainingState(policy_version=build.policy().version, consents_taken=build.consents().offset)],
        [],
    )
    for fetch in fetches:
        outcome = build.step(core, states[-1], fetch)
        states.append(outcome.state)
        outputs.append(outcome.outputs)
        made += [
            StoredRecord(0, one.timestamp_ms, one.key, one.value)
            for one in outcome.outputs
            if one.topic == MODELS
        ]
    for checkpoint in range(len(fetches)):
        state = core.restore(0, core.save(None, states[checkpoint]))
        for killed in range(checkpoint, len(fetches)):
            outcome = build.step(core, state, fetches[killed])
            assert (outcome.state, outcome.outputs) == (states[killed + 1], outputs[killed])
            state = build.step(core, state, fetches[killed], silent=True).state


def test_the_state_of_a_device_is_bounded() -> None:
    """Endless streams, holes, words, places and open windows.

    Every part of a state is at its limit, and the whole is within its own.
    """
    # No character of a text takes more bytes than these.
    long_text = "\U0001f600" * TEXT_CHARACTERS_MAX
    state, position = build.begun(), 0
    still: dict[str, Any] = {
        "worn": [True] * 1990,
        "yaw_rad": [0.123456789012345678] * 1990,
        "pitch_rad": [-0.123456789012345678] * 1990,
    }
    for turn in range(3 * SEEN_RANGES_MAX):
        made = [build.query(2 * turn, long_text, build.T0_NS + turn * 10**10)]
        made += [
            build.batch(
                "location",
                None,
                10 * turn,
                5,
                t0_ns=build.T0_NS + turn * 10**10,
                columns={
                    "latitude_deg": [0.1 + turn * 0.0123456789] * 5,
                    "longitude_deg": [turn * 0.987654321] * 5,
                },
            )
        ]
        if turn < 2 * STREAMS_PER_DEVICE_MAX:
            made += [build.batch("gaze", f"gaze-{turn}", 0, 1990, columns=still)]
        made += [build.batch("imu", f"imu-{turn % 8}", 100 * turn + 3, 5)]
        outcome = build.step(CORE, state, build.fetch(made, position))
        state, position = outcome.state, position + len(made)
    size = len(CORE.save(None, state)["g1"])
    print(f"the largest state of a device: {size:,} bytes")  # noqa: T201
    assert 0.5 * DEVICE_STATE_BYTES_MAX < size < DEVICE_STATE_BYTES_MAX
