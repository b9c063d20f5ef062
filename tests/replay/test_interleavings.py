"""However a live run went, a replay that is given its recorded inputs says the same, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.record import Outgoing, Received, StoredRecord
from streams.models.intent import IntentModel
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.replay import recorded
from streams.replay.inputs import RecordedInputs, TakeUp, inputs_of
from streams.replay.recorded import RecordedReplay
from streams.topology import EXAMPLES
from streams.training.lesson import Lesson
from streams.training.promotion import Validation
from streams.training.run import Fitted, fit_and_measure
from tests import build
from tests.replay import live as live_module
from tests.replay.live import EXAMPLES_PER_RUN, InMemory, Live, meaning

SECOND_NS = 1_000_000_000
ASKED = (
    ("wake me at seven", "alarm_set"),
    ("will it rain", "weather_query"),
    ("play some jazz", "play_music"),
    ("what is on my list", "lists_createoradd"),
    ("turn the lights off", "iot_hue_lightoff"),
)

#: A failing script is printed as it was drawn: making it shorter takes minutes, since a run takes a second.
QUIET = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)


_FITTED: dict[tuple[object, ...], Fitted] = {}


async def quick_fit(lesson: Lesson, validation: Validation, serving: IntentModel | None) -> Fitted:
    """A fit that is done once for live run and replay."""
    said = tuple(map(tuple, (lesson.pairs, lesson.wearers, lesson.devices, lesson.agreements)))
    of = said, validation, "" if serving is None else serving.digest
    if of not in _FITTED:
        _FITTED[of] = fit_and_measure(lesson, validation, serving)
    return _FITTED[of]


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits take most of the time; that they are deterministic is tested elsewhere."""
    for module in (live_module, recorded):
        monkeypatch.setattr(module, "fit_here", quick_fit)


def turn(source: str, number: int, *, refused: bool) -> list[Batch]:
    """A query with its feedback, and what the glasses see meanwhile.

    Strangers near keep an example from being learned.
    """
    t_ns = build.T0_NS + number * 4 * SECOND_NS
    around: dict[str, Any] = {
        "source": source,
        **({"place": "street", "people_near": "strangers"} if refused else {}),
    }
    text, intent = ASKED[(number + len(source)) % len(ASKED)]
    imu = structs.replace(build.imu(0.1 + number % 3, number * 40, 40, **around), t0_ns=t_ns)
    said: dict[str, list[Any]] = {
        "target": [f"{source}/answer/{number}"],
        "form": ["spoken"],
        "thumb": [0],
        "text": ["that was great, thank you"],
    }
    reaction = (
        build.batch("feedback", None, number, 1, t0_ns=t_ns + 2 * SECOND_NS, columns=said, **around)
        if number % 3 == 2
        else build.feedback(number, f"{source}/answer/{number}", intent, t_ns + 2 * SECOND_NS, **around)
    )
    return [imu, build.query(number, text, t_ns + SECOND_NS, **around), reaction]


def partition(sources: Sequence[str], turns: int, refused: Sequence[int]) -> list[Received]:
    """Records of one partition, with a repeat, two swapped, one that nobody can read, holes in offsets."""
    batches = [
        batch
        for number in range(turns)
        for source in sources
        for batch in turn(source, number, refused=number in refused)
    ]
    batches[1:1] = batches[:1]
    batches[6], batches[9] = batches[9], batches[6]
    records: list[Received] = [build.record(batch, 0) for batch in batches]
    records.insert(4, StoredRecord(0, build.T0_NS // 1_000_000, b"g1", b"rubbish"))
    return [replace(record, offset=at + at // 5) for at, record in enumerate(records)]  # type: ignore[type-var]


def inputs(outputs: Sequence[Outgoing]) -> RecordedInputs:
    tables = build.lineage(outputs)
    return inputs_of(
        "the test",
        [(row["version"], row["text"], row["published_ns"]) for row in tables["policies"]],
        [
            tuple(row[name] for name in ("kind", "agent", "partition", "offset", "value", "t_ns"))
            for row in tables["inputs"]
        ],
    )


def replayed(
    live: Live, taken: RecordedInputs, *, topic: bool = True, size: int = 1000, slow: int = -1
) -> list[Outgoing]:
    written: list[Outgoing] = []
    replay = RecordedReplay(taken, InMemory(live, topic, size, slow), written.extend, EXAMPLES_PER_RUN)
    build.run(replay.run())
    assert not replay.made, "every example was read by training"
    return written


def three_partitions(*, consents: bool = False) -> Live:
    """The glasses of one wearer.

    If `consents`, the wearer at last takes back on one pair what was agreed to on another.
    """
    captured = {
        0: partition(["g1"], 5, [1]),
        1: partition(["g22", "g3"], 3, []),
        2: partition(["g4"], 4, [0]),
    }
    if consents:
        say(captured[1], 9, "dpv:ConsentGiven", "dpv:RequestedServiceProvision ai:ModelTraining")
        say(captured[2], 10, "dpv:ConsentWithdrawn", "")
    return Live(captured)


def say(records: list[Received], at: int, status: str, purposes: str) -> None:
    """Let the wearer say something about the own data before record `at` of a partition."""
    source = (records[at].key or b"").decode()
    said: dict[str, list[Any]] = {"consent": [1], "status": [status], "purposes": [purposes]}
    batch = build.batch(
        "consent_change", None, 0, 1, source=source, t0_ns=records[at].timestamp * 1_000_000, columns=said
    )
    records[at:at] = [build.record(batch, 0)]
    records[:] = [replace(record, offset=place + place // 5) for place, record in enumerate(records)]  # type: ignore[type-var]


@cache
def stricter() -> Policy:
    """The policy of the demo, but nobody learns from what is said to the assistant."""
    before, zone, after = build.policy().text.partition('name = "voice-assistant"')
    return parse(
        before
        + zone
        + after.replace('"ai:ModelTraining", ', "", 1).replace('"ai:ModelTraining",\n', "\n", 1),
        "stricter",
    )


numbers = st.integers(0, 2)
sizes = st.integers(1, 9)
steps = st.one_of(
    st.tuples(st.just("fetch"), numbers, sizes),
    st.tuples(st.just("fetch"), numbers, sizes),
    st.tuples(st.just("fetch"), numbers, sizes),
    st.tuples(st.just("train"), st.booleans(), sizes),
    st.tuples(st.just("learn"), st.integers(-1, 2), st.none()),
    st.tuples(st.just("crash"), numbers, sizes),
    st.tuples(st.just("crash training"), st.none(), sizes),
    st.tuples(st.just("litter"), st.sampled_from([None, b"{}", b"no example"]), st.none()),
    st.tuples(st.just("switch"), st.booleans(), st.none()),
    st.tuples(st.just("roll back"), st.integers(0, 9), st.none()),
)


def live_run(script: Sequence[tuple[str, Any, Any]]) -> Live:
    live = three_partitions(consents=True)
    for what, which, size in script:
        if what == "fetch":
            live.fetch(which, size, checkpoint=size % 3 == 0)
        elif what == "train":
            live.train(size, checkpoint=which)
        elif what == "learn":
            live.learn(which)
        elif what == "crash":
            live.crash(which, size)
        elif what == "pause":
            live.pause(which, max(0, live.places[which].committed + size - 5))
        elif what == "crash training":
            live.crash_training(size)
        elif what == "roll back":
            live.roll_back(which)
        elif what == "switch":
            live.switch(stricter() if which else build.policy())
        else:
            live.litter(which)
    live.finish()
    return live


@settings(QUIET, max_examples=15)
@given(st.lists(steps, min_size=20, max_size=60), st.integers(1, 20))
def test_a_replay_says_what_any_live_run_said(script: list[tuple[str, Any, Any]], size: int) -> None:
    live = live_run(script)
    taken = inputs(live.outputs)
    for kind in {one.kind for some in (*taken.take_ups.values(), taken.training) for one in some}:
        event(f"take-ups of kind {kind}")
    assert meaning(replayed(live, taken, size=size)) == meaning(live.outputs)


def lost(row: dict[str, Any]) -> bool:
    return str(row.get("kind")).startswith("lost-")


@settings(QUIET, max_examples=8)
@given(st.lists(st.one_of(steps, st.tuples(st.just("pause"), numbers, sizes)), min_size=20, max_size=60))
@example([("fetch", 0, 3), ("fetch", 0, 4), ("pause", 0, 3), ("fetch", 0, 4), ("pause", 0, 9)])
def test_a_replay_leaves_out_what_was_lost_and_forgets_what_was_forgotten(
    script: list[tuple[str, Any, Any]],
) -> None:
    live = live_run(script)
    taken = inputs(live.outputs)
    event(f"records were lost: {bool(taken.lost)}; a state was behind: {bool(taken.behind)}")
    assert meaning(replayed(live, taken), lost) == meaning(live.outputs, lost)


def malformed_candidate(row: dict[str, Any]) -> bool:
    return bool(row.get("topic") == EXAMPLES and row.get("rule") == "malformed")


@settings(QUIET, max_examples=5)
@given(st.lists(steps, min_size=20, max_size=60))
def test_without_the_topic_only_malformed_candidates_are_unknown(script: list[tuple[str, Any, Any]]) -> None:
    live = live_run([*script, ("litter", b"{}", None)])
    taken = inputs(live.outputs)
    assert any("-" in order.ids for order in taken.orders)
    again = meaning(replayed(live, taken, topic=False), malformed_candidate)
    assert again == meaning(live.outputs, malformed_candidate)


def test_the_order_of_partitions_and_the_moment_of_a_take_up_change_results() -> None:
    """Otherwise the tests above would show nothing."""

    def run(order: Sequence[int], *, late: bool) -> dict[str, list[str]]:
        live = three_partitions()
        for number in order:
            live.fetch(number, 10, checkpoint=False)
        live.train(9, checkpoint=False)
        for number in order:
            if not late:
                live.learn(number)
            live.fetch(number, 12, checkpoint=False)
        live.finish()
        return meaning(live.outputs)

    first = run([0, 1, 2], late=False)
    assert len(first["models"]) >= 4
    assert first["models"] != run([2, 1, 0], late=False)["models"]
    assert first["edges"] != run([0, 1, 2], late=True)["edges"]


def test_the_recorded_version_serves_also_where_the_replay_has_newer_ones() -> None:
    live = three_partitions()
    live.fetch(0, 9, checkpoint=False)
    for number in (1, 2):
        live.fetch(number, 20, checkpoint=False)
    while len(live.models) < 4:  # a version and the pointer to it, twice
        live.train(1, checkpoint=False)
    live.learn(0)
    live.fetch(0, 3, checkpoint=False)
    live.finish()
    taken = inputs(live.outputs)
    assert [one.version for one in taken.take_ups[0] if one.version][:2] == [1, 2]
    assert len(meaning(live.outputs)["models"]) > 3
    assert meaning(replayed(live, taken, slow=0)) == meaning(live.outputs)


def forged(live: Live) -> None:
    """Write somebody's well-formed examples onto the topic.

    One has another id, and one that training has read comes once more.
    """
    genuine = live.examples[0]
    assert genuine.value is not None
    assert genuine.key is not None
    name, stranger = genuine.key, b"x" + genuine.key[1:]
    value = genuine.value.replace(b'"device_id":"' + name, b'"device_id":"' + stranger)
    headers = [
        (header, said.replace(name, stranger) if header in {"ce_id", "ce_source"} else said)
        for header, said in genuine.headers
    ]
    live._append(StoredRecord(0, genuine.timestamp, stranger, value, headers))
    live._append(StoredRecord(0, genuine.timestamp, name, genuine.value, genuine.headers))


def test_examples_that_no_pipeline_made_are_taken_from_the_topic() -> None:
    live = live_run([("fetch", 0, 9), ("train", True, 5)])
    forged(live)
    live.finish()
    taken = inputs(live.outputs)
    assert meaning(replayed(live, taken)) == meaning(live.outputs)
    with pytest.raises(
        InputError, match=r"training waits at offset \d+ of glasses.examples for xg?\d*/example"
    ):
        replayed(live, taken, topic=False)


def first(some: tuple[TakeUp, ...]) -> tuple[TakeUp, ...]:
    """What a partition took up with its first fetch."""
    return tuple(one for one in some if one.offset == some[0].offset)


def test_a_missing_input_is_named() -> None:
    live = live_run([])
    taken = inputs(live.outputs)
    later = {
        number: (
            *first(some),
            *(
                replace(one, value=str(int(one.value) + 50)) if one.version else one
                for one in some[len(first(some)) :]
            ),
        )
        for number, some in taken.take_ups.items()
    }
    with pytest.raises(InputError, match=r"partition 0 waits at offset \d+ for model version 5\d"):
        replayed(live, replace(taken, take_ups=later))
    with pytest.raises(InputError, match="no recorded input says which model served"):
        replayed(live, replace(taken, take_ups={}))
    with pytest.raises(InputError, match="for g9/example/1, which was never made"):
        replayed(
            live,
            replace(taken, orders=(replace(taken.orders[0], ids=("g9/example/1",)), *taken.orders[1:])),
            topic=False,
        )
    with pytest.raises(AssertionError, match="every example was read"):
        replayed(
            live,
            replace(
                taken,
                orders=taken.orders[:-1],
                take_ups={n: first(some) for n, some in taken.take_ups.items()},
            ),
        )


@pytest.mark.parametrize(
    ("policies", "rows", "sentence"),
    [
        ([], [], "found 0 policies that it began with"),
        ([("a", "", 1)], [("policy", "glasses", 0, 0, "b", 1)], "the text of 0 of 1 that were in force"),
        (
            [("a", "", 1), ("b", "", 1)],
            [("policy", "glasses", 0, 0, "a", 1), ("policy", "glasses", 0, 9, "b", 1)],
            "found 2 policies",
        ),
        (
            [("a", build.policy().text, 1)],
            [
                ("policy", "glasses", 0, 0, "a", 1),
                *(("model-takeup", "glasses", 3, 7, version, 1) for version in "12"),
            ],
            "two values of model-takeup at offset 7 of partition 3",
        ),
        (
            [("a", build.policy().text, 1)],
            [
                ("policy", "glasses", 0, 0, "a", 1),
                *(("model-takeup", "glasses", 3, 0, version, 1) for version in "12"),
                ("lost-records", "glasses", 3, 0, "1132", 1),
            ],
            r"two logs of glasses\.captured, .* \(partition 3 had been read up to offset 1132\)",
        ),
    ],
)
def test_inputs_that_contradict_one_another_are_refused(
    policies: list[Any], rows: list[Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        inputs_of("a store", policies, rows)
