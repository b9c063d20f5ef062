"""Families of models on the examples of one version, as `sightline models compare` shows them."""

from __future__ import annotations

import itertools

from streams.consent.record import learn_consent, withdrawal_record
from streams.events.record import StoredRecord
from streams.models.families import FAMILIES
from streams.pipeline.comparing import compared
from streams.pipeline.judging import judged
from streams.policy.crossing import Crossing
from streams.policy.step import Step
from streams.training import seed
from tests import build
from tests.training.test_training import examples, train, utterances, versions

RECORDS = examples(utterances(36, 3))


def test_the_family_of_training_gives_the_figures_of_the_version() -> None:
    version = versions(train(RECORDS, every=36)[0])[0]
    ticks = itertools.count()
    candidates = judged(RECORDS, build.CODEC, build.crossing(), build.followed().side_inputs(), build.T0_NS)
    rows = compared(version, candidates, seed.licensed(), lambda: float(next(ticks)))
    assert [row.family for row in rows] == list(FAMILIES)
    own = rows[0]
    assert (own.better, own.worse) == (0, 0)
    assert own.accuracy == version.accuracy
    assert own.examples == version.manifest.examples - len(seed.licensed().seed.pairs)
    assert own.fit_ms == 1000.0, "one tick of the clock"
    assert all(0.3 < row.accuracy < 1 for row in rows)
    assert all(row.better + row.worse > 0 for row in rows[1:]), "they are other models"


def test_what_was_withdrawn_since_is_not_learned_again() -> None:
    version = versions(train(RECORDS, every=36)[0])[0]
    followed = build.followed()
    word = withdrawal_record("w1", 0)
    learn_consent(followed.consents, StoredRecord(followed.consents.offset, 5, word.key, word.value))
    side = followed.side_inputs()
    crossing = Crossing(build.policy(), side.consents.of_partition(side.consents.offset, {}), Step())
    candidates = judged(RECORDS, build.CODEC, crossing, side, build.T0_NS)
    rows = compared(version, candidates, seed.licensed(), lambda: 0.0)
    assert {row.examples for row in rows} == {0}
