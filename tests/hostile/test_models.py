"""What stands on `glasses.models` and no training of ours can have written serves nobody.

It is passed over, said aloud and counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streams import metrics
from streams.errors import MalformedError
from streams.events.record import StoredRecord
from streams.events.runs import Run
from streams.limits import INTENTS_MAX, MODEL_FEATURES, MODEL_NUMBERS_AHEAD_MAX, MODELS_WAITING_MAX
from streams.models.intent import IntentModel
from streams.models.registry import ModelTable
from streams.models.version import CURRENT_KEY, ModelVersion
from streams.pipeline.bootstrap import first_records
from streams.policy import label as lattice
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.topology import ANSWERS
from streams.training.check import can_serve
from tests import build

POLICY = build.policy()
FIRST = build.version(build.core())


def other_model() -> ModelVersion:
    return replace(
        FIRST, model=IntentModel(FIRST.model.intents, FIRST.model.weights, np.roll(FIRST.model.bias, 1))
    )


def forged(**changes: Any) -> bytes:
    """A second version of which all is right but what changes."""
    return replace(other_model(), version=2, **changes).dump()


def forged_model(intents: Sequence[str] = FIRST.model.intents, weight: float = 0.0) -> bytes:
    """The same with another model, of which the digest is right."""
    weights = np.full((len(intents), MODEL_FEATURES), weight, "<f4")
    return forged(model=IntentModel(tuple(intents), weights, np.zeros(len(intents), "<f4")))


def loosened(**changes: int) -> bytes:
    """The label of the first version with other components."""
    return lattice.pack(**{**lattice.unpack(FIRST.label), **changes})


def models() -> ModelTable:
    made = ModelTable(lambda version: can_serve(version, {POLICY.version: POLICY}))
    made.learn(b"model/1", FIRST.dump())
    made.learn(CURRENT_KEY, b'{"version":1}')
    return made


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CURRENT_KEY, value)
        for value in (
            None,
            b"",
            b"\xff",
            b"[]",
            b"7",
            b"{}",
            b'{"version":2}',
            b'{"version":[]}',
            b'{"version":true}',
            b'{"version":"1"}',
            b'{"version":1.0}',
        )
    ]
    + [
        (b"model/2", None),
        (b"model/2", b"[]"),
        (b"model/2", b"{}"),
        (None, FIRST.dump()),
        (b"model/2", FIRST.dump()),
        (b"model/1", other_model().dump()),
        (b"model/0", replace(FIRST, version=0).dump()),
        (b"model/2", replace(FIRST, version=2, label=FIRST.label + b"\0").dump()),
        (b"model/2", replace(FIRST, version=2, zone="moon").dump()),
        *(
            (b"model/2", FIRST.dump().replace(b'"version":1,', b'"version":%s,' % number))
            for number in (b'"2"', b"2.0", b"2.5")
        ),
        (b"model/1", FIRST.dump().replace(b'"version":1,', b'"version":true,')),
        (
            b"model/2",
            replace(FIRST, version=2)
            .dump()
            .replace(FIRST.model.digest.encode(), other_model().model.digest.encode()),
        ),
        (
            b"model/2",
            replace(
                FIRST, version=2, model=IntentModel((), FIRST.model.weights[:0], FIRST.model.bias[:0])
            ).dump(),
        ),
    ],
)
def test_a_bad_record_of_models_is_refused_and_changes_nothing(
    key: bytes | None, value: bytes | None
) -> None:
    made = models()
    with pytest.raises(MalformedError):
        made.learn(key, value)
    assert (made.now.current, set(made.now.versions), made.now.versions[1].dump()) == (1, {1}, FIRST.dump())


INTENTS = FIRST.model.intents


@pytest.mark.parametrize(
    "value",
    [
        forged(policy_version="deadbeefdeadbeef"),
        forged(accuracy=1.01),
        forged(accuracy=-0.5),
        forged().replace(b'"accuracy":', b'"accuracy":"', 1),
        forged(trained_ns=-1),
        forged(retrain_by_ns=FIRST.retrain_by_ns + 1),
        forged(declassifier="payment"),
        forged(zone="rights", label=bytes(16)),
        forged(label=bytes(16)),
        forged(label=b"\xff" * 16),
        forged(label=loosened(retention=200)),
        forged(label=loosened(nature=4)),
        forged(label=loosened(categories=0)),
        forged(label=loosened(purposes=2**16 - 1)),
        forged(label=loosened(regions=0xFF)),
        forged(zone="x" * 10_000),
        forged(manifest=replace(FIRST.manifest, seed_examples=-1)),
        forged(manifest=replace(FIRST.manifest, wearers={"W 1": [1]})),
        forged(manifest=replace(FIRST.manifest, wearers={"w1": ["1"]})),  # type: ignore[list-item]
        forged(manifest=replace(FIRST.manifest, refused=[("g1", "example", Run(0, 1, 1), "x" * 5000)])),
        forged().replace(b'"admitted":[]', b'"admitted":[["g1","example",0,0,1]]'),
        forged().replace(b'"admitted":[]', b'"admitted":[["g1","example",0,1,1e9]]'),
        forged().replace(b'"v":1', b'"v":2'),
        forged().replace(b'"v":1', b'"v":1,"more":1'),
        forged().replace(b'"features":1024', b'"features":1023'),
        forged().replace(b'"weights":"', b'"weights":"*'),
        b"[" * 100_000,
        forged_model(weight=float("nan")),
        forged_model(weight=float("inf")),
        forged_model([INTENTS[0], *INTENTS[:-1]]),
        forged_model(INTENTS[::-1]),
        forged_model(INTENTS[:2]),
        forged_model([*INTENTS[:-1], "zz_payment_send"]),
        forged_model([*INTENTS[:-1], "Zebra"]),
        forged_model([f"a{i:03}" for i in range(INTENTS_MAX + 1)]),
    ],
)
def test_a_version_that_training_cannot_have_made_is_refused_and_the_last_good_serves(value: bytes) -> None:
    made = models()
    with pytest.raises(MalformedError) as error:
        made.learn(b"model/2", value)
    assert "zz_payment" not in str(error.value)
    with pytest.raises(MalformedError, match="not there"):
        made.learn(CURRENT_KEY, b'{"version":2}')
    assert (made.now.current, set(made.now.versions)) == (1, {1})


def test_what_is_refused_is_not_in_the_way_of_the_version_that_training_makes() -> None:
    made = models()
    for value in (forged(accuracy=2.0), forged(policy_version="0" * 16), forged_model(INTENTS[::-1])):
        with pytest.raises(MalformedError):
            made.learn(b"model/2", value)
    made.learn(b"model/2", forged())
    made.learn(CURRENT_KEY, b'{"version":2}')
    assert made.now.current == 2


def test_a_version_waits_for_its_policy_and_no_longer_than_a_few_others() -> None:
    policies = {POLICY.version: POLICY}
    made = ModelTable(lambda version: can_serve(version, policies))
    made.learn(b"model/1", FIRST.dump())
    made.learn(CURRENT_KEY, b'{"version":1}')
    later = load("enterprise")
    of_later = next(one for one in first_records(later, build.T0_NS) if one.key == b"model/1")
    second = replace(ModelVersion.load(of_later.value), version=2)
    for key, value in ((b"model/2", second.dump()), (CURRENT_KEY, b'{"version":2}')):
        with pytest.raises(MalformedError):
            made.learn(key, value)
    made.settle()
    assert made.now.current == 1
    policies[later.version] = later
    made.settle()
    assert (made.now.current, made.now.highest) == (2, 2)
    for number in range(3, 3 + 2 * MODELS_WAITING_MAX):
        with pytest.raises(MalformedError, match="not known"):
            made.learn(b"model/%d" % number, replace(second, version=number, policy_version="x").dump())
    assert len(made._waiting) == MODELS_WAITING_MAX


def test_a_number_far_ahead_is_refused() -> None:
    made = models()
    number = 2 + MODEL_NUMBERS_AHEAD_MAX
    with pytest.raises(MalformedError, match="expected the next one"):
        made.learn(b"model/%d" % number, replace(other_model(), version=number).dump())


def test_no_partition_stands_still_for_a_model_that_misleads() -> None:
    core = build.core()
    for value in (forged(policy_version="deadbeefdeadbeef"), forged(label=bytes(16), zone="rights")):
        for key, one in ((b"model/2", value), (CURRENT_KEY, b'{"version":2}')):
            with pytest.raises(MalformedError):
                core.followed.models.learn(key, one)
    records, state = build.process(core, [build.fetch([build.query(0, "wake me at seven", build.T0_NS)])])
    assert state.model_version == 1
    assert [one.topic for one in records].count(ANSWERS) == 1


@pytest.mark.parametrize(
    "left",
    [
        [(b"model/1", FIRST.dump()), (b"model/2", forged()), (CURRENT_KEY, b"{}")],
        [
            (b"model/1", FIRST.dump()),
            (b"model/2", forged()),
            (b"model/3", b"{}"),
            (CURRENT_KEY, b'{"version":3}'),
        ],
    ],
    ids=["no pointer", "no version that the pointer means"],
)
def test_what_compaction_left_of_a_littered_topic_serves(left: list[tuple[bytes, bytes]]) -> None:
    core = build.core()
    core.followed.models = made = ModelTable(lambda version: can_serve(version, {POLICY.version: POLICY}))
    for pair in left:
        with contextlib.suppress(MalformedError):
            made.learn(*pair)
    _, state = build.process(core, [build.fetch([build.query(0, "wake me at seven", build.T0_NS)])])
    assert state.model_version == 2
    made.learn(b"model/3", replace(FIRST, version=3).dump())
    made.learn(CURRENT_KEY, b'{"version":3}')
    assert made.now.serving == 3


def test_a_flood_of_versions_costs_bounded_memory_and_a_state_still_finds_its_own() -> None:
    core = build.core()
    followed = core.followed
    followed.models = made = ModelTable(lambda version: can_serve(version, {POLICY.version: POLICY}), 4)
    log = [
        StoredRecord(i, 0, b"model/%d" % (i + 1), replace(FIRST, version=i + 1).dump()) for i in range(100)
    ]
    log.insert(1, StoredRecord(0, 0, b"model/2", b"{}"))
    read: list[int] = []

    async def recall(number: int) -> None:
        read.append(number)
        made.recall(number, log)

    followed.recall = recall
    for one in log:
        with contextlib.suppress(MalformedError):
            made.learn(one.key, one.value)
        if one.key == b"model/1":
            made.learn(CURRENT_KEY, b'{"version":1}')
    assert set(made.now.versions) == {1, *range(97, 101)}
    assert metrics.read("model_versions_kept") == 5
    asked = build.fetch([build.query(0, "wake me at seven", build.T0_NS)])
    state = replace(build.begun(), model_version=2, policy_version=POLICY.version)
    outcome = build.step(core, state, asked, silent=True)
    assert ANSWERS in {one.topic for one in outcome.outputs}
    assert read == [2]
    made.learn(b"model/101", replace(FIRST, version=101).dump())
    assert len(made.now.versions) == 5


def test_a_version_that_comes_again_is_welcome() -> None:
    made = models()
    made.learn(b"model/1", FIRST.dump())
    assert made.now.current == 1


def test_a_pointer_that_waited_for_its_policy_is_not_heard_after_a_later_one() -> None:
    known: dict[str, Policy] = {}
    made = ModelTable(lambda version: version.version == 1 or can_serve(version, known))
    made.learn(b"model/1", FIRST.dump())
    for key, value in (
        (b"model/2", replace(other_model(), version=2).dump()),
        (CURRENT_KEY, b'{"version":2}'),
    ):
        with pytest.raises(MalformedError):
            made.learn(key, value)
    made.learn(CURRENT_KEY, b'{"version":1}')
    known[POLICY.version] = POLICY
    made.settle()
    assert (made.now.current, set(made.now.versions)) == (1, {1, 2})


def test_the_pointer_goes_where_it_is_moved_also_back() -> None:
    made = models()
    made.learn(b"model/2", replace(other_model(), version=2).dump())
    for number in (2, 1, 2):
        made.learn(CURRENT_KEY, b'{"version":%d}' % number)
        assert made.now.version(made.now.current).version == number
    assert made.now.version(2).model.digest == other_model().model.digest
