"""Splits: each wearer gives a tenth to validation and to the test, and no example ever changes its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import InputError
from streams.events.record import Received
from streams.limits import SPLIT_SLOT_NS, SPLIT_SLOTS
from streams.models.intent import fit
from streams.models.version import ModelVersion
from streams.pipeline.bootstrap import first_records
from streams.pipeline.training import TrainingCore
from streams.replay import fit_here
from streams.training import promotion, run, seed, splits
from tests import build
from tests.training.test_runs import candidates
from tests.training.test_training import LICENSED, examples, remade, table, train, utterances, versions

WEARERS = st.from_regex(r"w[0-9]{1,4}", fullmatch=True)
TIMES = st.integers(0, 2**62)


@given(WEARERS, TIMES)
def test_of_ten_slots_in_a_row_one_is_for_validation_and_one_for_the_test(wearer: str, t_ns: int) -> None:
    slots = [splits.split_of(wearer, t_ns + at * SPLIT_SLOT_NS) for at in range(SPLIT_SLOTS)]
    assert Counter(slots) == {"train": SPLIT_SLOTS - 2, "validation": 1, "test": 1}
    neighbours = [splits.split_of(wearer, t_ns + at * SPLIT_SLOT_NS) for at in range(SPLIT_SLOTS + 1)]
    assert all("train" in pair for pair in pairwise(neighbours))
    within = t_ns // SPLIT_SLOT_NS * SPLIT_SLOT_NS
    assert splits.split_of(wearer, within) == splits.split_of(wearer, within + SPLIT_SLOT_NS - 1)


def test_which_slot_is_drawn_for_each_wearer_and_another_seed_draws_anew() -> None:
    def first(seed_: int) -> list[int]:
        return [
            next(
                at
                for at in range(SPLIT_SLOTS)
                if splits.split_of(f"w{i}", at * SPLIT_SLOT_NS, seed_) == "test"
            )
            for i in range(200)
        ]

    counts = Counter(first(1))
    assert set(counts) == set(range(SPLIT_SLOTS))
    assert max(counts.values()) < 40, "a tenth of 200 is 20"
    assert first(1) != first(2)


def test_the_draw_of_slots_never_changes() -> None:
    """Another draw would move examples that versions have learned from into the test."""
    drawn = {
        wearer: "".join(
            splits.split_of(wearer, build.T0_NS + at * SPLIT_SLOT_NS)[1] for at in range(SPLIT_SLOTS)
        )
        for wearer in ("w1", "w3", "w90")
    }
    assert drawn == {"w1": "rrrrerrrra", "w3": "rarrrrerrr", "w90": "rrarrrrerr"}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Wake me, at seven!", "wake me at seven", True),
        ("wake  me at SEVEN", "wakemeatseven", True),
        ("wake me at eight", "wake me at seven", False),
        ("lève-toi", "leve toi", False),
        ("お願い", "お願い", True),
    ],
)
def test_utterances_that_differ_in_writing_alone_are_one(a: str, b: str, same: bool) -> None:
    assert (splits.key_of(a) == splits.key_of(b)) is same


def spread(records: Sequence[Received]) -> list[Received]:
    """The same examples, captured so far apart that all splits have some."""
    return [remade(record, t0_ns=build.T0_NS + at * SPLIT_SLOT_NS // 2) for at, record in enumerate(records)]


def parts(made: ModelVersion) -> dict[str, set[int]]:
    manifest = made.manifest
    runs = {"train": manifest.admitted, "validation": manifest.validation, "test": manifest.test}
    return {split: {number for *_, run in some for number in run} for split, some in runs.items()}


def test_a_run_learns_from_its_split_alone_and_no_example_ever_changes_its_split() -> None:
    pairs = utterances(48, 1)
    written, _ = train(spread(examples(pairs)), cut=48, every=12)
    made = versions(written)
    assert [version.version for version in made] == [2, 3, 4, 5]
    splits_of: dict[int, set[str]] = {}
    for version in made:
        own = parts(version)
        assert set.union(*own.values()) == set(range(12 * (version.version - 1)))
        learned = [pairs[number] for number in sorted(own["train"])]
        assert version.model.digest == fit([*LICENSED.seed.pairs, *learned]).digest
        for split, numbers in own.items():
            for number in numbers:
                splits_of.setdefault(number, set()).add(split)
    assert all(len(of) == 1 for of in splits_of.values())
    # T0 is the 20th second of a slot, and two examples are in a slot. Of w1, slots 4, 14 and 24 are for the
    # test, the last with one example, and slots 9 and 19 for validation.
    counts = Counter(split for of in splits_of.values() for split in of)
    assert counts == {"train": 39, "validation": 4, "test": 5}
    rows = table(written, "promotions")
    assert [(row["version"], row["kept_validation"], row["kept_test"]) for row in rows] == [
        (version.version, len(parts(version)["validation"]), len(parts(version)["test"])) for version in made
    ]
    assert {row["split_seed"] for row in rows} == {1}
    edges = [row for row in table(written, "edges") if row["parent_stream"] == "example"]
    learned_from = {
        number
        for row in edges
        if row["child_first"] == 5
        for number in range(row["parent_first"], row["parent_first"] + row["parent_width"])
    }
    assert learned_from == parts(made[-1])["train"], "what is kept is no parent of the model"


def test_an_utterance_of_the_validation_set_is_learned_by_no_version() -> None:
    kept, intent = LICENSED.validation.pairs[0]
    pairs = [*utterances(5, 2), (f" {kept.upper()}!", intent)]
    written, _ = train(examples(pairs))
    (made,) = versions(written)
    assert parts(made)["train"] == {0, 1, 2, 3, 4}
    assert [(runs.first, rule) for _, _, runs, rule in made.manifest.refused] == [(5, run.RESERVED_RULE)]
    assert made.model.digest == fit([*LICENSED.seed.pairs, *pairs[:5]]).digest


def test_a_kept_example_that_is_learned_elsewhere_measures_nothing() -> None:
    kept = candidates([("g1", 3)])
    text = kept[0].tagged.batch.columns["utterance"][0]
    learned = [*LICENSED.seed.pairs, (text.upper(), "alarm_set")]
    assert len(promotion.validation_of(LICENSED.validation, kept, LICENSED.seed.pairs).pairs) == 364 + 3
    assert len(promotion.validation_of(LICENSED.validation, kept, learned).pairs) == 364


def licensed(**changes: seed.Examples) -> seed.Licensed:
    return seed.Licensed(**{"seed": LICENSED.seed, "validation": LICENSED.validation, **changes})


SHOUTED = tuple((text.upper(), intent) for text, intent in LICENSED.seed.pairs[:3])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (licensed(validation=seed.Examples((), "", "")), "found no licensed example"),
        (
            licensed(validation=seed.Examples((*LICENSED.validation.pairs, *SHOUTED), "", "")),
            r"found 3 of its 367 licensed utterances, by digest, among those that are learned",
        ),
    ],
)
def test_a_validation_set_that_is_empty_or_leaks_is_refused_in_words(
    wrong: seed.Licensed, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        TrainingCore(fit_here, licensed=wrong)
    assert not any(text in str(refused.value) for text, _ in LICENSED.seed.pairs)
    with pytest.raises(InputError, match=sentence):
        first_records(build.policy(), build.T0_NS, wrong)


def test_a_version_names_what_it_kept_and_one_that_kept_nothing_is_written_as_before() -> None:
    written, _ = train(spread(examples(utterances(24, 3))), cut=24, every=24)
    (made,) = versions(written)
    assert ModelVersion.load(made.dump()).dump() == made.dump()
    assert parts(made)["validation"]
    first = build.version(build.core())
    assert not any(name in first.dump() for name in (b'"validation"', b'"test"', b'"declined"'))
