"""A version that an erasure withdrew leaves its number and why, and no worker waits for its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.consent.erased import Erasure
from streams.errors import InputError, MalformedError
from streams.events.record import Outgoing, Received, StoredRecord
from streams.events.runs import Run
from streams.limits import MODELS_KEPT_MAX
from streams.models.pointer import Pointer, Rollback
from streams.models.registry import ModelTable
from streams.models.version import CURRENT_KEY, ModelVersion, version_key
from streams.models.withdrawn import Withdrawn
from streams.pipeline.going_back import check_back
from streams.pipeline.live import LiveGlasses
from streams.pipeline.side_inputs import SideInputs
from streams.sealing.erasures import Done, Requested
from streams.topology import MODELS
from streams.worker.erasure_models import times_of, whose_is_erased
from streams.worker.models import learned_from, taken_off
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.recovery.test_state import TEXTS, core_of_three

FIRST = build.version(build.core())
WEARERS = {"w1": [1, 2], "w2": [1]}
BACK = Rollback(1, 2, "erasure 7", build.T0_NS, erasure=True, withdrawn=((2, 2),))
_NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z")


def version(number: int, **more: Any) -> ModelVersion:
    return replace(FIRST, version=number, manifest=replace(FIRST.manifest, wearers=WEARERS), **more)


def marker(number: int, erased: Sequence[str] = ("w1",)) -> bytes:
    return Withdrawn.of(version(number), "erasure 7", erased).dump()


def read(*records: tuple[bytes, bytes]) -> ModelTable:
    table = ModelTable(kept_max=MODELS_KEPT_MAX)
    for key, value in records:
        table.learn(key, value)
    return table


def log(highest: int = 3) -> list[tuple[bytes, bytes]]:
    """The versions up to one, of which 3 was declined, and the return from 2 to 1 after an erasure."""
    made = [version(number, declined="worse" if number == 3 else "") for number in range(2, highest + 1)]
    return [
        (version_key(1), FIRST.dump()),
        *((version_key(each.version), each.dump()) for each in made),
        (CURRENT_KEY, Pointer(2).dump()),
        (CURRENT_KEY, Pointer(1, BACK).dump()),
    ]


@given(st.dictionaries(_NAMES, st.lists(st.integers(0, 9), min_size=1, max_size=3), max_size=5), st.data())
def test_what_is_left_is_read_as_written_and_names_nobody_who_was_erased(
    wearers: dict[str, list[int]], data: st.DataObject
) -> None:
    erased = data.draw(st.lists(st.sampled_from(sorted(wearers)), unique=True)) if wearers else []
    made = replace(FIRST, version=7, manifest=replace(FIRST.manifest, wearers=wearers))
    left = Withdrawn.of(made, "erasure 9", erased)
    assert Withdrawn.begins(left.dump())
    assert not Withdrawn.begins(made.dump())
    assert Withdrawn.load(left.dump()) == left
    assert set(left.wearers) == set(wearers) - set(erased)
    assert (left.version, left.digest, left.trained_ns) == (7, FIRST.model.digest, FIRST.trained_ns)
    assert FIRST.model.dump()["weights"] not in left.dump().decode(), "none of the model is in it"


@pytest.mark.parametrize(
    "value",
    [
        b'{"withdrawn":',
        b'{"withdrawn":"erasure 7"}',
        marker(2).replace(b'"version":2', b'"version":0'),
        marker(2).replace(b'"v":1', b'"v":2'),
        marker(2).replace(b'"declined":', b'"more":1,"declined":'),
        marker(2).replace(b'"w2"', b'"w 2"'),
        marker(2).replace(b'"erasure 7"', b'""'),
    ],
)
def test_what_is_none_changes_nothing(value: bytes) -> None:
    table = read(*log())
    before = table.now
    with pytest.raises(MalformedError):
        table.learn(version_key(2), value)
    assert table.now == before


def test_the_value_goes_the_number_stays_taken_and_nothing_points_to_it() -> None:
    table = read(*log(), (version_key(2), marker(2)))
    assert (sorted(table.now.versions), sorted(table.now.withdrawn)) == ([1, 3], [2])
    assert (table.now.serving, table.now.highest) == (1, 3)
    assert table.now.gone(2)
    for key, value in (
        (version_key(2), version(2).dump()),
        (CURRENT_KEY, Pointer(2).dump()),
    ):
        with pytest.raises(MalformedError):
            table.learn(key, value)
    assert (table.now.serving, sorted(table.now.versions)) == (1, [1, 3])


def test_it_is_the_same_for_who_reads_the_topic_after_compaction() -> None:
    table = read(
        (version_key(1), FIRST.dump()), (CURRENT_KEY, Pointer(1, BACK).dump()), (version_key(9), marker(9))
    )
    assert (table.now.serving, table.now.highest, sorted(table.now.withdrawn)) == (1, 9, [9])


def test_without_a_pointer_the_newest_promoted_one_serves_that_was_not_withdrawn() -> None:
    made = [(version_key(number), version(number).dump()) for number in (2, 3)]
    table = read((version_key(1), FIRST.dump()), *made, (version_key(3), marker(3)))
    assert table.now.serving == 2


def test_a_candidate_that_is_withdrawn_answers_no_more() -> None:
    made = read(*log()[:3])
    made.learn(version_key(3), version(3, declined="worse").dump())
    assert made.now.candidate == 3
    made.learn(version_key(3), Withdrawn.of(version(3, declined="worse"), "erasure 7", ()).dump())
    assert made.now.candidate == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (version_key(3), marker(2)),
        (version_key(1), Withdrawn.of(FIRST, "erasure 7", ()).dump()),
        (version_key(2), Withdrawn.of(version(2, trained_ns=5), "erasure 7", ()).dump()),
        (version_key(10**9), marker(10**9)),
    ],
)
def test_one_under_another_key_of_the_version_that_serves_of_another_or_far_ahead_is_refused(
    key: bytes, value: bytes
) -> None:
    table = read(*log())
    with pytest.raises(MalformedError):
        table.learn(key, value)
    assert not table.now.withdrawn


def records(log_: Sequence[tuple[bytes, bytes]]) -> list[Received]:
    return [StoredRecord(at, 0, key, value) for at, (key, value) in enumerate(log_)]


def taken(known: ModelTable, topic: Sequence[tuple[bytes, bytes]], *erased: str) -> list[Outgoing]:
    return taken_off(records(topic), known.now, "erasure 8", lambda wearer, _: wearer in erased)


def test_values_of_withdrawn_versions_are_replaced_once_and_those_of_others_stay() -> None:
    topic = log()
    [gone] = taken(read(*topic), topic, "w1")
    assert (gone.topic, gone.key) == (MODELS, version_key(2))
    left = Withdrawn.load(gone.value)
    assert dict(left.wearers) == {"w2": (1,)}
    topic.append((gone.key, gone.value or b""))
    known = read(*topic)
    assert taken(known, topic, "w1") == []
    assert learned_from(known.now, "w1", 0) == {3}
    assert learned_from(known.now, "w2", 0) == {2, 3}, "an erasure of another one knows it still"
    [again] = taken(known, topic, "w1", "w2")
    assert dict(Withdrawn.load(again.value).wearers) == {}


def test_a_value_that_came_again_after_it_is_replaced_again() -> None:
    topic = [*log(), (version_key(2), marker(2)), (version_key(2), version(2).dump())]
    known = ModelTable()
    for key, value in topic[:-1]:
        known.learn(key, value)
    with pytest.raises(MalformedError):
        known.learn(*topic[-1])
    [gone] = taken(known, topic)
    assert gone.value == marker(2)


def test_nothing_is_gone_back_to_and_the_reason_is_said() -> None:
    table = read(*log(), (version_key(2), marker(2)))
    followed = build.followed()
    side = SideInputs(followed.policies.now, table.now, followed.consents.view())
    with pytest.raises(
        InputError, match=r"model version 2: was withdrawn.*erased \(erasure 7\), expected one of 1"
    ):
        check_back(2, side, (), build.CODEC, build.T0_NS)


def begun() -> tuple[LiveGlasses, list[Received]]:
    """A core whose partition has taken up version 2, and the records of `glasses.models` by then."""
    core = core_of_three()
    core.followed.models.learn(CURRENT_KEY, Pointer(2).dump())
    made = core.followed.models.now.versions.values()
    return core, [StoredRecord(each.version, 0, version_key(each.version), each.dump()) for each in made]


def withdrawn(core: LiveGlasses, topic: list[Received], *, compacted: bool) -> None:
    """Version 2 is withdrawn while no fetch comes; the topic may still have its value."""
    gone = Withdrawn.of(core.followed.models.now.versions[2], "erasure 7", ())
    core.followed.models.learn(CURRENT_KEY, Pointer(1, BACK).dump())
    core.followed.models.learn(version_key(2), gone.dump())
    left = [each for each in topic if not (compacted and each.key == version_key(2))]
    left.append(StoredRecord(9, 0, version_key(2), gone.dump()))

    async def recall(number: int) -> None:
        core.followed.models.recall(number, left)

    core.followed.recall = recall


@pytest.mark.parametrize("compacted", [False, True])
def test_a_worker_that_starts_again_goes_on_and_says_nothing_else_of_what_was_answered(
    compacted: bool,
) -> None:
    """Its state is of before the erasure, and what it repeats was answered by the version that is gone."""
    core, topic = begun()
    asked = [build.query(at, TEXTS[at], build.T0_NS + at) for at in range(3)]
    checkpoint = build.step(core, core.empty(0), build.fetch(asked[:1], 0)).state
    live = build.step(core, checkpoint, build.fetch(asked[1:2], 1)).state
    withdrawn(core, topic, compacted=compacted)
    state = core.restore(0, core.save(None, checkpoint))
    assert build.run(core.stands(state))
    again = build.step(core, state, build.fetch(asked[1:2], 1), silent=True).state
    heard = live.devices["g1"].answers
    assert again.devices["g1"].answers == (heard[:1] if compacted else heard)
    with pytest.raises(MalformedError, match="points to a version that is not there"):
        core.followed.models.learn(CURRENT_KEY, Pointer(2).dump())
    assert again.model_version == 2, "what serves now is taken up, and recorded, with the next fetch"
    after = build.step(core, again, build.fetch(asked[2:], 2))
    assert after.state.model_version == 1
    assert [
        row["value"] for row in build.lineage(after.outputs)["inputs"] if row["kind"] == "model-takeup"
    ] == ["1"]
    assert [each.model_version for each in after.state.devices["g1"].answers][-1] == 1


def test_a_state_that_names_what_nobody_withdrew_is_waited_for() -> None:
    core, topic = begun()
    state = build.step(core, core.empty(0), build.fetch([build.query(0, TEXTS[0], build.T0_NS)], 0)).state
    core.followed.models = read(*((each.key or b"", each.value or b"") for each in topic[:1]))
    assert not build.run(core.stands(state))


#: When the newest was captured that is in each example, by wearer: of w1 one was on the day before.
EXAMPLES = {"w1": {"g1/example/1": 5, "g1/example/2": 15}, "w2": {"g2/example/5": 15}}
LEARNED = [("g1", "example", Run(1, 1, 2)), ("g2", "example", Run(5, 1, 1))]


def erased_since(
    since_ns: int, examples: Mapping[str, Mapping[str, int]] = EXAMPLES
) -> Callable[[str, ModelVersion | Withdrawn], bool]:
    """What an erasure of w1 since a time, which was at 25 and withdrew version 2, makes of wearers' names."""
    of = Requested(8, "of w1", "w1", {"requested": Done(25, since_ns)})
    return whose_is_erased(of, {2}, [Erasure("of w1", 8, 25, since_ns)], "of {}".format, examples)


def learned() -> ModelVersion:
    made = version(2, trained_ns=20)
    return replace(made, manifest=replace(made.manifest, admitted=LEARNED))


@pytest.mark.parametrize(("since_ns", "goes"), [(0, True), (5, True), (6, False), (15, False)])
def test_a_version_that_learned_from_what_is_older_keeps_saying_so(since_ns: int, goes: bool) -> None:
    is_erased, made = erased_since(since_ns), learned()
    assert is_erased("w1", made) is goes
    assert not is_erased("w2", made)
    # What is left of a version does not say from which examples it learned.
    assert is_erased("w1", Withdrawn.of(made, "erasure 7", ())) is (since_ns == 0)
    # An example that nobody has any more, or that was made later, is not older.
    assert erased_since(since_ns, {"w1": {"g1/example/9": 1}})("w1", made)


def test_its_name_goes_with_the_erasure_of_the_rest() -> None:
    topic = [(key, learned().dump() if key == version_key(2) else value) for key, value in log()]
    [gone] = taken_off(records(topic), read(*topic).now, "erasure 8", erased_since(10))
    assert dict(Withdrawn.load(gone.value).wearers) == {"w1": (1, 2), "w2": (1,)}
    topic.append((gone.key, gone.value or b""))
    known = read(*topic)
    assert taken_off(records(topic), known.now, "erasure 8", erased_since(10)) == [], "once"
    assert 2 in learned_from(known.now, "w1", 0), "it concerns an erasure of all"
    [rest] = taken_off(records(topic), known.now, "erasure 9", erased_since(0))
    assert dict(Withdrawn.load(rest.value).wearers) == {"w2": (1,)}


def test_the_time_of_an_example_is_that_of_the_newest_in_it() -> None:
    known = times_of([*GOOD_EXAMPLES, StoredRecord(0, 0, b"g1", b"{}")], build.CODEC)
    assert sum(map(len, known.values())) == len(GOOD_EXAMPLES)
    late = replace(GOOD_EXAMPLES[0], timestamp=build.T0_NS // 1_000_000 + 60_000)
    [[(name, at_ns)]] = [each.items() for each in times_of([late], build.CODEC).values()]
    assert at_ns == late.timestamp * 1_000_000, "an erasure takes what came in its time"
    assert known[next(iter(times_of([late], build.CODEC)))][name] == build.T0_NS
