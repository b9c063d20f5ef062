"""What a run looks at before it learns: weights, outliers, bounds of the policy, and runs that are held."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from sklearn.linear_model import LogisticRegression

from device_sim.draw import draw, utterances
from streams import metrics
from streams.errors import InputError
from streams.events.record import Fetch, Outgoing, Received, stamp_ns
from streams.limits import OUTLIER_EXAMPLES_MIN, WEARER_WEIGHT_RATIO_MAX
from streams.models.grams import grams
from streams.models.intent import INVERSE_REGULARISATION, ITERATIONS_MAX, IntentModel, fit
from streams.pipeline.live import LiveTraining
from streams.pipeline.next_run import next_run
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.rules import TrainingBounds
from streams.policy.source import POLICIES, bundle
from streams.topology import EXAMPLES, MODELS, REJECTED
from streams.training import outliers as outliers_module
from streams.training import seed
from streams.training.lesson import Lesson
from streams.training.outliers import Outlier, folds_of, outliers
from streams.training.promotion import Validation
from streams.training.run import Fitted
from streams.training.splits import key_of
from tests import build
from tests.hostile.test_cores import no_fit
from tests.training.test_training import examples

DRAWN = draw(1, utterances())
TOLD = st.tuples(
    st.sampled_from(["wake me", "Wake me!", "play jazz", "how warm is it"]),
    st.sampled_from(["alarm_set", "play_music"]),
    st.sampled_from(["", "w1", "w2", "w3"]),
)


def lesson(rows: Sequence[tuple[str, str, str]]) -> Lesson:
    """Rows of (utterance, intent, wearer); the device of wearer `w1` is `g1`."""
    wearers = [wearer for *_, wearer in rows]
    devices = [wearer.replace("w", "g") for wearer in wearers]
    return Lesson([(text, intent) for text, intent, _ in rows], wearers, devices, [1.0] * len(rows))


@given(st.lists(TOLD, max_size=40))
def test_what_is_repeated_counts_once_and_no_wearer_counts_much_more_than_the_median(
    rows: list[tuple[str, str, str]],
) -> None:
    weights = lesson(rows).weights
    told = [(wearer, key_of(text), intent) for text, intent, wearer in rows]
    once = Counter({wearer: len({each for each in told if each[0] == wearer}) for wearer, *_ in told})
    del once[""]
    totals = Counter[str]()
    for (_, _, wearer), weight in zip(rows, weights, strict=True):
        totals[wearer] += weight  # type: ignore[assignment]  # a Counter of floats
    assert totals.pop("", 0) == sum(wearer == "" for *_, wearer in rows), "the seed counts whole"
    if once:
        most = WEARER_WEIGHT_RATIO_MAX * median(once.values())
        assert totals == pytest.approx({wearer: min(count, most) for wearer, count in once.items()})


def test_what_raters_disagree_about_counts_less_also_where_it_is_repeated() -> None:
    told = Lesson(
        [("wake me", "alarm_set"), ("wake me", "alarm_set"), ("play", "play_music"), ("stop", "alarm_set")],
        ["", "w1", "w1", "w1"],
        ["", "g1", "g1", "g1"],
        [1.0, 0.5, 0.25, 1.0],
    )
    assert told.weights == [1.0, 0.5, 0.25, 1.0]
    again = told.only([1, 1, 2])
    assert again.weights == [0.25, 0.25, 0.25], "said twice, it counts once, half"
    assert told.without({"g1"}).weights == [1.0]


def test_one_wearer_with_nearly_all_examples_counts_four_times_the_median() -> None:
    rows = [(f"play song {i}", "play_music", "w1") for i in range(100)]
    rows += [(f"wake me at {i}", "alarm_set", f"w{2 + i % 2}") for i in range(10)]
    told = lesson(rows)
    assert told.factors == {"w1": 0.2}
    assert sum(told.weights) == pytest.approx(20 + 10)
    assert lesson([*rows[:100], *[("", "", "")] * 9]).factors == {}, "alone, nobody has too many"


def test_a_fit_with_weights_is_that_of_scikit_learn_and_without_them_all_count_alike() -> None:
    pairs = [*DRAWN.seed, *DRAWN.queries[:60]]
    weights = [random.Random(at).choice([0.25, 1.0]) for at in range(len(pairs))]
    expected = LogisticRegression(
        C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=ITERATIONS_MAX, random_state=0
    ).fit(grams([text for text, _ in pairs]).matrix(), [intent for _, intent in pairs], weights)
    made = fit(pairs, weights)
    assert np.allclose(made.weights, expected.coef_, atol=1e-4)
    assert made.digest != fit(pairs).digest
    assert fit(pairs, [1.0] * len(pairs)).digest == fit(pairs).digest


def talk(devices: int, each: int, liars: Sequence[int], seed: int, share: float = 1.0) -> Lesson:
    """The seed, and what some devices say; of a liar's examples, a share means another intent."""
    chance = random.Random(f"talk/{seed}")
    pairs = chance.sample(list(DRAWN.queries), devices * each)
    intents = sorted({intent for _, intent in DRAWN.queries})
    rows = [(text, intent, "") for text, intent in DRAWN.seed]
    for at, (text, intent) in enumerate(pairs):
        device = at % devices
        if device in liars and chance.random() < share:
            intent = chance.choice([other for other in intents if other != intent])  # noqa: PLW2901
        rows.append((text, intent, f"w{device}"))
    return lesson(rows)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("devices", "liars"), [(3, [1]), (5, [4]), (9, [2, 7])])
def test_who_contradicts_all_others_is_an_outlier_and_nobody_else(
    devices: int, liars: list[int], seed: int
) -> None:
    named = outliers(talk(devices, 40, liars, seed))
    assert [outlier.device for outlier in named] == [f"g{liar}" for liar in liars]
    assert all(outlier.share > 0.8 and outlier.others_share < 0.5 for outlier in named)


@pytest.mark.parametrize("seed", range(8))
def test_honest_devices_are_no_outliers(seed: int) -> None:
    assert not outliers(talk(5, 40, [], seed))


def test_two_devices_or_few_examples_say_nothing() -> None:
    few_lies = talk(2, 40, [1], 0)
    kept = [at for at, device in enumerate(few_lies.devices) if device != "g1" or at % 3 == 0]
    told = few_lies.only(kept)
    assert told.devices.count("g1") >= OUTLIER_EXAMPLES_MIN
    assert not outliers(told)
    assert not outliers(talk(5, 9, [1], 0))


def test_who_speaks_in_another_way_is_no_outlier() -> None:
    """Words that nobody else uses make the others' model unsure; that is no contradiction."""
    told = talk(5, 40, [], 1)
    foreign = {letter: chr(0x3B1 + at) for at, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    pairs = [
        ("".join(foreign.get(letter, letter) for letter in text), intent)
        if device == "g2"
        else (text, intent)
        for (text, intent), device in zip(told.pairs, told.devices, strict=True)
    ]
    other = replace(told, pairs=pairs)
    model = fit(told.without({"g2"}).pairs)
    assert (
        model.accuracy([pair for pair, device in zip(pairs, told.devices, strict=True) if device == "g2"])
        < 0.3
    )
    assert not outliers(other)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 200), st.integers(0, 200))
@settings(max_examples=200)
def test_the_chance_is_that_of_fishers_test(examples: int, bad: int, others: int, others_bad: int) -> None:
    bad, others_bad = min(bad, examples), min(others_bad, others)
    expected = fisher_exact(
        [[bad, examples - bad], [others_bad, others - others_bad]], alternative="greater"
    ).pvalue
    found = outliers_module._chance(Outlier("g1", examples, bad, 0.0), examples + others, bad + others_bad)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def bounded(**bounds: int) -> Policy:
    """The household's policy with bounds on training."""
    table = "\n".join(f"{name} = {value}" for name, value in bounds.items())
    return parse(f"{bundle(POLICIES / 'household.toml')}\n[training]\n{table}\n", "mine")


def test_bounds_are_those_of_the_policy_or_else_the_defaults() -> None:
    assert load("household").training == TrainingBounds()
    assert bounded(examples_min=7, intent_percent_max=60).training == TrainingBounds(
        examples_min=7, intent_percent_max=60
    )


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"examples_min": 0}, r"^mine, line \d+: 'examples_min' is 0, expected 1 to 16384$"),
        ({"intent_percent_max": 101}, r"^mine, line \d+: 'intent_percent_max' is 101, expected 0 to 100$"),
        (
            {"intents_percent_max": 5},
            r"'intents_percent_max' is not a field of .*; did you mean 'intent_percent_max'\?$",
        ),
    ],
)
def test_wrong_bounds_are_told(bounds: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bounded(**bounds)


SAMPLE = random.Random(1).sample(list(DRAWN.queries), 20)
PAIRS = [*SAMPLE, *SAMPLE[:1] * 4]


def trained(policy: Policy, every: int = 12, fits: list[int] | None = None) -> tuple[list[Outgoing], int]:
    """What runs write under a policy, and the last version of the state; `fits` gets the size of each fit."""
    records = examples(PAIRS, under=policy)

    async def history(offset: int) -> Sequence[Received]:
        return records[: offset + 1]

    async def fitted(lesson: Lesson, validation: Validation, serving: IntentModel | None) -> Fitted:
        if fits is not None:
            fits.append(len(lesson.pairs))
        return await no_fit(lesson, validation, serving)

    core = LiveTraining(build.followed(policy), history, fitted, every)
    state, written = core.empty(0), list[Outgoing]()
    for at in range(0, len(records), every):
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, records[at : at + every]))
        assert outcome.checkpoint, "a silent run could not say how the run ended"
        state = core.restore(0, core.save(None, outcome.state))
        written += outcome.outputs
        build.learn_models(core.followed, outcome.outputs)
    return written, state.version


@pytest.mark.parametrize(
    ("bounds", "name", "says"),
    [
        ({"device_percent_max": 99}, "device", "are from one device: 100 %, expected at most 99 %"),
        ({"wearer_percent_max": 50}, "wearer", "are of one wearer: 100 %, expected at most 50 %"),
        ({"repeated_percent_max": 5}, "repeated", "repeat what the same wearer said before, with the same"),
        ({"intent_percent_max": 5}, "intent", "mean one intent ("),
        ({"language_percent_max": 90}, "language", "are of one language (en): 100 %, expected at most 90 %"),
        ({"zone_percent_max": 10}, "zone", "are of one zone (voice-assistant): 100 %, expected at most 10 %"),
    ],
)
def test_a_run_beyond_a_bound_is_held_and_the_next_one_looks_again(
    bounds: dict[str, int], name: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = metrics.read("training_held_total")
    policy = bounded(examples_min=16, **bounds)
    fits: list[int] = []
    written, version = trained(policy, fits=fits)
    assert len(fits) == 1, "nothing is fitted on what is held"
    assert version == 2, "the first run had too few examples to judge; the second was held"
    assert [record.key for record in written if record.topic == MODELS] == [b"model/2", b"model/current"]
    assert metrics.read("training_held_total") == held + 1
    rows = build.lineage(written)
    assert [(row["version"], row["name"]) for row in rows["training_checks"] if row["outcome"] == "held"] == [
        (3, name)
    ]
    (rejected,) = [dict(record.headers) for record in written if record.topic == REJECTED]
    assert rejected["sightline-rule"] == b"run-held"
    reason = rejected["sightline-reason"].decode()
    assert reason.startswith("model version 3 was not made: ")
    assert says in reason
    assert reason.endswith("; the next run looks again")
    assert reason in caplog.text
    assert not any(text in caplog.text for text, _ in PAIRS), "no words of a wearer"
    assert [row["version"] for row in rows["training_runs"]] == [2]


def test_within_the_bounds_all_checks_are_recorded_and_nothing_is_held() -> None:
    written, version = trained(bounded(examples_min=16))
    assert version == 3
    rows = build.lineage(written)["training_checks"]
    assert {row["outcome"] for row in rows} == {"passed"}
    second = {row["name"]: row for row in rows if row["version"] == 3}
    assert set(second) == {"intent", "zone", "wearer", "device", "language", "repeated", "contradicting"}
    assert (second["language"]["subject"], second["language"]["examples"]) == ("en", second["zone"]["judged"])
    given = second["repeated"]["judged"]
    texts = [key_of(text) for text, _ in PAIRS]
    assert given <= len(PAIRS), "some are kept for measuring"
    assert second["repeated"]["examples"] == given - second["device"]["judged"]
    assert 0 < second["repeated"]["examples"] <= len(texts) - len(set(texts))


def test_a_dry_run_says_what_the_run_then_does() -> None:
    policy = bounded(examples_min=16, repeated_percent_max=50)
    pairs = [*random.Random(2).sample(list(DRAWN.queries), 40), *SAMPLE[:1] * 4, *DRAWN.validation[:2]]
    records = examples(pairs, refused=[3, 4, 11], under=policy)

    async def history(offset: int) -> Sequence[Received]:
        return records[: offset + 1]

    core = LiveTraining(build.followed(policy), history, no_fit, len(pairs) - 3)
    empty = core.empty(0)
    state = replace(empty, left_out=("g1/example/5",))
    side = core.followed.side_inputs()
    dry = next_run(state, side, records, core._codec, seed.licensed(), stamp_ns(records[-1]))
    outcome = build.step(core, state, Fetch(EXAMPLES, 0, records))
    rows = build.lineage(outcome.outputs)
    (ran,), (judged,) = rows["training_runs"], rows["promotions"]
    assert (dry.version, dry.policy_version, dry.held) == (ran["version"], policy.version, "")
    assert (dry.examples, dry.seed_examples) == (ran["admitted"], ran["seed_examples"])
    assert sum(dry.refused.values()) == ran["refused"] == 5
    assert (dry.kept_validation, dry.kept_test) == (judged["kept_validation"], judged["kept_test"])
    assert dry.left_out == 1
    assert [(check.name, check.examples, check.judged) for check in dry.checks] == [
        (row["name"], row["examples"], row["judged"]) for row in rows["training_checks"]
    ]
    (made,) = [record for record in outcome.outputs if record.key == b"model/2"]
    assert len(made.value or b"") <= dry.bytes_max
    assert dry.fits == 1, "one device alone is compared with nobody"


def test_a_dry_run_says_what_would_be_held() -> None:
    policy = bounded(examples_min=16, repeated_percent_max=5)
    core = LiveTraining(build.followed(policy), None, no_fit)  # type: ignore[arg-type]  # reads nothing
    records = examples(PAIRS, under=policy)
    dry = next_run(
        core.empty(0), core.followed.side_inputs(), records, core._codec, seed.licensed(), build.T0_NS
    )
    assert dry.held.startswith("4 of 24 examples repeat what the same wearer said before")


@pytest.mark.parametrize(("devices", "each"), [(2, 40), (3, 20), (3, 9), (6, 12)])
def test_a_run_fits_as_many_models_as_a_dry_run_says(
    devices: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, fits = talk(devices, each, [], 3), list[int]()

    def counted(pairs: Sequence[tuple[str, str]], weights: Sequence[float]) -> IntentModel:
        fits.append(len(pairs))
        return fit(pairs, weights)

    monkeypatch.setattr(outliers_module, "fit", counted)
    outliers(told)
    assert len(fits) == len(folds_of(told))
    assert bool(fits) is (devices > 2 and each >= OUTLIER_EXAMPLES_MIN)
    assert {device for fold in folds_of(told) for device in fold} <= set(told.devices)
