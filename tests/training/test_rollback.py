"""Rollback: an operator's return to an earlier version is taken up, recorded, and never revives data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from streams.consent.record import learn_consent, withdrawal_record
from streams.errors import InputError, MalformedError
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.limits import MODELS_KEPT_MAX
from streams.models.pointer import Pointer, Rollback
from streams.models.registry import ModelTable
from streams.models.version import CURRENT_KEY, ModelVersion
from streams.pipeline.followed import Followed
from streams.pipeline.going_back import check_back
from streams.pipeline.live import LiveTraining
from streams.topology import EXAMPLES
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES, example_records, no_fit
from tests.training.test_runs import history, versions

NOW_NS = build.T0_NS + 10**10
BACK = Rollback(2, 4, "version 4 turns the lights off at night", NOW_NS)


def loop() -> tuple[LiveTraining, list[Outgoing]]:
    """A core that has made versions 2, 3 and 4 of four, eight and twelve examples."""
    core = LiveTraining(build.followed(), history, no_fit, 4)
    written: list[Outgoing] = []
    state = core.empty(0)
    for at in range(0, 12, 4):
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[at : at + 4]))
        state = outcome.state
        written += outcome.outputs
        build.learn_models(core.followed, outcome.outputs)
    return core, written


def back(number: int, followed: Followed, now_ns: int = NOW_NS) -> ModelVersion:
    return check_back(number, followed.side_inputs(), GOOD_EXAMPLES, build.CODEC, now_ns)


def test_a_pointer_of_a_run_is_written_as_before_and_one_of_an_operator_says_why() -> None:
    assert Pointer(7).dump() == b'{"version":7}'
    assert Pointer.load(Pointer(2, BACK).dump()) == Pointer(2, BACK)
    assert Rollback.load(BACK.dump()) == BACK


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b'{"version":0}',
        b'{"version":true}',
        b'{"version":"2"}',
        b'{"version":99999999999999999999}',
        Pointer(3, BACK).dump(),
        Pointer(2, structs.replace(BACK, superseded=True)).dump(),
        Pointer(2, BACK).dump().replace(b'"at_ns"', b'"at"'),
        b'{"version":2,"rollback":{"version":2}}',
    ],
)
def test_what_is_no_pointer_is_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedError, match="model/current"):
        Pointer.load(value)


def test_the_version_serves_again_and_the_next_promoted_one_after_it() -> None:
    core, _ = loop()
    models = core.followed.models
    assert models.now.serving == 4
    models.learn(CURRENT_KEY, Pointer(2, BACK).dump())
    assert (models.now.serving, models.now.rollback) == (2, BACK)
    models.learn(CURRENT_KEY, Pointer(4).dump())
    assert (models.now.serving, models.now.rollback) == (4, structs.replace(BACK, superseded=True))


def test_a_version_that_is_no_longer_in_memory_is_written_again_and_serves() -> None:
    first = build.version(build.core())
    models = ModelTable(kept_max=MODELS_KEPT_MAX)
    for number in range(1, 3 * MODELS_KEPT_MAX):
        models.learn(b"model/%d" % number, replace(first, version=number).dump())
        models.learn(CURRENT_KEY, Pointer(number).dump())
    assert 2 not in models.now.versions
    models.learn(b"model/2", replace(first, version=2).dump())
    models.learn(CURRENT_KEY, Pointer(2, BACK).dump())
    assert models.now.serving == 2
    assert len(models.now.versions) == MODELS_KEPT_MAX + 1


def taken_up(every: int, turns: int = 1) -> list[dict[str, list[dict[str, Any]]]]:
    """Rows of fetches of one example after a rollback from 4 to 2."""
    core, _ = loop()
    core.every = every
    core.followed.models.learn(CURRENT_KEY, Pointer(2, BACK).dump())
    state = replace(core.empty(0), version=4, serving=4, admitted=0)
    rows = []
    for _ in range(turns):
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[11:]))
        state = core.restore(0, core.save(None, outcome.state))
        rows.append(build.lineage(outcome.outputs))
        assert (state.serving, state.rolled_back_ns) == (2 if every > 1 else state.version, NOW_NS)
    return rows


def test_training_takes_it_up_once_as_an_input_and_records_who_served_before_and_why() -> None:
    first, second = taken_up(99, 2)
    inputs = [row for row in first["inputs"] if row["kind"] == "model-rollback"]
    assert [Rollback.load(row["value"]) for row in inputs] == [BACK]
    (row,) = first["promotions"]
    told = {name: row[name] for name in ("version", "outcome", "against", "reason", "t_ns")}
    assert told == {
        "version": 2,
        "outcome": "rolled-back",
        "against": 4,
        "reason": BACK.why,
        "t_ns": NOW_NS,
    }
    assert not second.get("promotions")
    assert not [row for row in second["inputs"] if row["kind"] == "model-rollback"]


def test_one_that_a_promotion_overtook_is_recorded_and_changes_nothing() -> None:
    """A run that had begun before the rollback was read promotes its version after it."""
    core, _ = loop()
    for pointer in (Pointer(2, BACK), Pointer(4)):
        core.followed.models.learn(CURRENT_KEY, pointer.dump())
    core.every = 99
    state = replace(core.empty(0), version=4, serving=4)
    outcome = build.step(core, state, Fetch(EXAMPLES, 0, GOOD_EXAMPLES[11:]))
    assert (outcome.state.serving, outcome.state.rolled_back_ns) == (4, NOW_NS)
    assert [row["outcome"] for row in build.lineage(outcome.outputs)["promotions"]] == ["rolled-back"]


def test_what_came_since_is_left_out_so_that_the_next_version_is_another_one() -> None:
    records = example_records(20)

    async def read(offset: int) -> Sequence[Received]:
        return records[: offset + 1]

    core = LiveTraining(build.followed(), read, no_fit, 4)
    state, made = core.empty(0), list[ModelVersion]()
    for at in range(0, 20, 4):
        if at == 12:
            core.followed.models.learn(CURRENT_KEY, Pointer(2, BACK).dump())
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, records[at : at + 4]))
        state = core.restore(0, core.save(None, outcome.state))
        made += versions(outcome.outputs)
        build.learn_models(core.followed, outcome.outputs)
    learned = [{number for *_, run in version.manifest.admitted for number in run} for version in made]
    assert learned[:3] == [set(range(4)), set(range(8)), set(range(12))]
    assert learned[3:] == [{*range(4), *range(12, 16)}, {*range(4), *range(12, 20)}]
    assert [version.manifest.left_out for version in made] == [0, 0, 0, 8, 8]


def test_the_next_version_is_compared_with_what_serves_since() -> None:
    (rows,) = taken_up(1)
    assert [(row["version"], row["outcome"], row["against"]) for row in rows["promotions"]] == [
        (2, "rolled-back", 4),
        (5, "promoted", 2),
    ]


def test_it_is_refused_in_words() -> None:
    core, written = loop()
    assert back(2, core.followed).version == 2
    assert back(1, core.followed).version == 1, "the seed needs no example"
    for number, sentence in ((4, "serves already"), (9, "expected one of 1, 2, 3, 4")):
        with pytest.raises(InputError, match=sentence):
            back(number, core.followed)
    made = versions(written)[0]
    with pytest.raises(InputError, match="may not serve any longer"):
        back(2, core.followed, made.retrain_by_ns)
    declined = replace(made, version=5, declined="worse")
    core.followed.models.learn(b"model/5", declined.dump())
    with pytest.raises(InputError, match=r"was declined \(worse\)"):
        back(5, core.followed)


def test_what_was_withdrawn_or_has_expired_does_not_come_back() -> None:
    core, _ = loop()
    with pytest.raises(InputError, match=r"found 4 of its 92 examples .* retention"):
        back(2, core.followed, build.T0_NS + 200 * 86_400 * 10**9)
    said, offset = withdrawal_record("w1", 0), core.followed.consents.offset
    learn_consent(core.followed.consents, StoredRecord(offset, 5, said.key, said.value))
    for number, count in ((2, 4), (3, 8)):
        with pytest.raises(InputError, match=rf"found {count} of its .* withdrawn"):
            back(number, core.followed)
    assert back(1, core.followed).version == 1


def test_what_is_gone_from_the_topic_does_not_come_back() -> None:
    core, _ = loop()
    with pytest.raises(InputError, match=r"found 2 of its .* no longer on glasses.examples"):
        check_back(2, core.followed.side_inputs(), GOOD_EXAMPLES[2:], build.CODEC, NOW_NS)
