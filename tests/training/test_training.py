"""Stage 5: labels decide at the gate, counts start runs, equal examples give equal bytes, learning helps."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec import structs
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

import device_sim
from streams.errors import MalformedError, UnavailableError
from streams.events.codec import encode
from streams.events.headers import LABEL, RESERVED, ZONE, envelope
from streams.events.record import Fetch, Outgoing, Received, StoredRecord
from streams.limits import MODEL_FEATURES
from streams.metrics import Tally
from streams.models import intent
from streams.models.intent import IntentModel, fit
from streams.models.version import ModelVersion, version_key
from streams.pipeline.live import LiveTraining
from streams.pipeline.training_state import TrainingState
from streams.policy import label as lattice
from streams.policy.policy import Policy
from streams.replay import fit_here
from streams.topology import EXAMPLES, MODELS, REJECTED
from streams.training import gate, seed
from tests import build

POLICY = build.policy()
LICENSED = seed.licensed()
QUERIES = Path(device_sim.__file__).parent / "recordings" / "queries.csv"


def utterances(count: int, chance: int) -> list[tuple[str, str]]:
    with QUERIES.open(encoding="utf-8") as file:
        rows = [(row["utterance"], row["intent"]) for row in csv.DictReader(file)]
    return random.Random(chance).sample(rows, count)


def examples(
    pairs: Sequence[tuple[str, str]],
    refused: Sequence[int] = (),
    source: str = "g1",
    under: Policy | None = None,
) -> list[Received]:
    """Records of `glasses.examples` as agent `glasses` writes them; strangers were near at `refused`."""
    core = build.core(under)
    batches = []
    for i, (text, chosen) in enumerate(pairs):
        t = build.T0_NS + i * 2_000_000_000
        around = {"place": "street", "people_near": "strangers"} if i in refused else {}
        batches += [
            build.query(i, text, t, source=source, **around),
            build.feedback(i, f"{source}/answer/{i}", chosen, t + 10**9, source=source, **around),
        ]
    records, _ = build.process(
        core, [build.fetch(batches[at : at + 20], at) for at in range(0, len(batches), 20)]
    )
    made = [record for record in records if record.topic == EXAMPLES]
    assert len(made) == len(pairs)
    return [
        StoredRecord(i, record.timestamp_ms, record.key, record.value, tuple(record.headers))
        for i, record in enumerate(made)
    ]


def train(
    records: Sequence[Received], cut: int = 5, every: int = 6, tally: Tally | None = None
) -> tuple[list[Outgoing], TrainingState]:
    async def history(offset: int) -> Sequence[Received]:
        return records[: offset + 1]

    core = LiveTraining(build.followed(), history, fit_here, every)
    state, written = core.empty(0), list[Outgoing]()
    for at in range(0, len(records), cut):
        outcome = build.step(core, state, Fetch(EXAMPLES, 0, records[at : at + cut]))
        state = outcome.state
        written += outcome.outputs
        if tally is not None:
            tally.merge(outcome.tally)
        build.learn_models(core.followed, outcome.outputs)
    return written, state


def versions(written: Sequence[Outgoing]) -> list[ModelVersion]:
    return [
        ModelVersion.load(record.value)
        for record in written
        if record.topic == MODELS and record.key != b"model/current"
    ]


def table(written: Sequence[Outgoing], name: str) -> list[dict[str, Any]]:
    return build.lineage(written).get(name, [])


def test_runs_go_by_count_of_admitted_examples_however_fetches_are_cut() -> None:
    records = examples(utterances(20, 1), refused=[2, 3, 11])
    results = [versions(train(records, cut)[0]) for cut in (1, 5, 20)]
    for made in results:
        assert [one.version for one in made] == [2, 3]
        assert [sum(run.count for _, _, run in one.manifest.admitted) for one in made] == [6, 12]
        assert [one.dump() for one in made] == [one.dump() for one in results[0]]


def test_refused_examples_are_listed_with_the_rule_and_not_learned() -> None:
    pairs = utterances(12, 2)
    written, _ = train(examples(pairs, refused=[0, 5]))
    denied = [row for row in table(written, "decisions") if row["verdict"] == "deny"]
    assert [(row["stream"], row["first"], row["sink"]) for row in denied] == [
        ("example", 0, "training-run"),
        ("example", 5, "training-run"),
    ]
    assert all("purpose ai:ModelTraining is not permitted" in row["rule"] for row in denied)
    made = versions(written)[0]
    manifest = made.manifest
    assert made.model.digest == fit([*LICENSED.seed.pairs, *(pairs[i] for i in (1, 2, 3, 4, 6, 7))]).digest
    assert [number for _, _, run in manifest.admitted for number in run] == [1, 2, 3, 4, 6, 7]
    assert [(run.first, rule.partition(":")[0]) for _, _, run, rule in manifest.refused] == [
        (0, "sinks.training-run"),
        (5, "sinks.training-run"),
    ]


def test_what_the_gate_decides_and_a_declassifier_loosens_is_counted() -> None:
    tally = Tally()
    written, _ = train(examples(utterances(14, 2), refused=[0, 5]), tally=tally)
    assert tally.counts["declassified_events_total", ("model-training",)] == len(versions(written)) == 2
    at_gate = [row for row in table(written, "decisions") if row["sink"] == "training-run"]
    for verdict in ("allow", "deny"):
        counted = sum(
            amount
            for (name, labels), amount in tally.counts.items()
            if name == "decided_events_total" and labels[0] == "training-run" and labels[2] == verdict
        )
        assert counted == sum(row["count"] for row in at_gate if row["verdict"] == verdict)


def test_a_model_descends_from_its_examples_by_the_declassifier() -> None:
    written, _ = train(examples(utterances(6, 3)))
    edges = [row for row in table(written, "edges") if row["child_stream"] == "intent-model"]
    named = ("parent_source", "parent_stream", "parent_first", "parent_width", "declassifier")
    assert [tuple(row[name] for name in named) for row in edges] == [
        ("training", "seed", 0, len(LICENSED.seed.pairs), ""),
        ("g1", "example", 0, 6, "model-training"),
    ]
    made = versions(written)[0]
    example = bytes.fromhex(dict(examples(utterances(1, 3))[0].headers)[LABEL].decode().partition(":")[2])
    before, after = lattice.unpack(example), lattice.unpack(made.label)
    assert after["retention"] > before["retention"]
    assert after["categories"] & before["categories"] == before["categories"]
    assert made.retrain_by_ns > made.trained_ns


def judged(record: Received, now_ns: int = build.T0_NS + 10**10) -> gate.Candidate:
    return gate.judge(
        record,
        build.CODEC,
        build.crossing(),
        lambda label, version, _: label if version == POLICY.version else b"",
        now_ns,
    )


def relabel(record: Received, **changes: bytes) -> Received:
    headers = tuple((name, changes.get(name.replace("-", "_"), value)) for name, value in record.headers)
    return StoredRecord(record.offset, record.timestamp, record.key, record.value, headers)


def test_the_gate_refuses_by_default() -> None:
    good = examples(utterances(1, 4))[0]
    version, _, packed = dict(good.headers)[LABEL].decode().partition(":")
    narrow = lattice.unpack(bytes.fromhex(packed))
    narrow["purposes"] = POLICY.vocabulary.mask("purposes", ["ai:ModelTraining"])
    assert judged(good).admitted
    for record, rule in (
        (relabel(good, sightline_label=b""), "cannot say a parent's label"),
        (relabel(good, sightline_label=f"{'0' * 16}:{packed}".encode()), "cannot say a parent's label"),
        (relabel(good, sightline_zone=b"nowhere"), "no zone nowhere"),
        (
            relabel(good, sightline_label=f"{version}:{lattice.pack(**narrow).hex()}".encode()),
            "does not permit what the model serves",
        ),
    ):
        candidate = judged(record)
        assert not candidate.admitted
        assert rule in candidate.rule
    assert "retention: it is over" in judged(good, build.T0_NS + 200 * 86_400 * 10**9).rule
    fields = orjson.loads(good.value or b"")
    fields["context"]["consent"] = 0
    assert "none is known" in judged(replace(good, value=orjson.dumps(fields))).rule  # type: ignore[type-var]
    assert dict(good.headers)[ZONE] == b"voice-assistant"


def remade(record: Received, **changes: Any) -> Received:
    """A forgery of the example with `changes`, in which headers and value agree."""
    batch, _, _ = gate.read(record, build.CODEC)
    columns = {name: [changes.pop(name)] if name in changes else old for name, old in batch.columns.items()}
    batch = structs.replace(batch, columns=columns, **changes)
    tags = [pair for pair in record.headers if pair[0] in RESERVED]
    key, headers = batch.source.encode(), (*envelope(batch, "g1/x/0"), *tags)
    return StoredRecord(record.offset, record.timestamp, key, encode(batch), headers)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": "training"}, "stream: found none of an example"),
        ({"source": "operator"}, "stream: found none of an example"),
        ({"stream": "answer"}, "stream: found none of an example"),
        ({"stream": "example-2"}, "stream: found none of an example"),
        ({"stream": "imu~2"}, "stream: found none of an example"),
        ({"intent": "Payment!"}, "intent"),
        ({"intent": "a" * 65}, "intent: found no name"),
        ({"intent": "PAY:ment"}, "intent: found no name"),
        ({"intent": None}, "intent"),
        ({"utterance": "x" * 1001}, "utterance"),
        ({"utterance": "x\0y"}, "utterance"),
        ({"utterance": 7}, "utterance"),
        ({"answered_intent": "x" * 101}, "answered_intent"),
        ({"model_version": 1e60}, "model_version"),
    ],
)
def test_an_example_that_no_feedback_stage_makes_is_malformed(changes: dict[str, Any], sentence: str) -> None:
    good = examples(utterances(1, 4))[0]
    assert judged(remade(good)).admitted
    with pytest.raises(MalformedError, match=sentence):
        judged(remade(good, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"wearer_id": "w500"},
        {"source": "g999"},
        {"stream": "example~9"},
        {"context": build.context(consent=99)},
        {"context": build.context(consent=2**62)},
    ],
)
def test_an_example_under_a_consent_that_nobody_recorded_is_not_learned(changes: dict[str, Any]) -> None:
    candidate = judged(remade(examples(utterances(1, 4))[0], **changes))
    assert (candidate.admitted, "none is known" in candidate.rule) == (False, True)


def test_what_is_no_example_is_rejected_and_the_neighbours_pass() -> None:
    records = examples(utterances(2, 5))
    bad = StoredRecord(1, 1, b"g1", b"rubbish")
    written, state = train([records[0], bad, records[1]])
    assert [dict(record.headers)["sightline-place"] for record in written if record.topic == REJECTED] == [
        b"glasses.examples 0 1"
    ]
    assert state.admitted == 2


def test_no_example_is_to_blame_when_the_topic_cannot_be_read() -> None:
    async def history(offset: int) -> Sequence[Received]:
        raise TimeoutError

    core = LiveTraining(build.followed(), history, fit_here, 1)
    with pytest.raises(UnavailableError, match="could not be read for a training run"):
        build.run(build.computed(core, core.empty(0), Fetch(EXAMPLES, 0, examples(utterances(1, 7)))))


def test_state_survives_a_checkpoint() -> None:
    core = LiveTraining(build.followed(), None, fit_here)  # type: ignore[arg-type]
    state = TrainingState(
        4, 7, POLICY.version, 3, frozenset({"g1/example/5", "g1/example/6", "g2/example~2/9"})
    )
    assert core.restore(0, core.save(TrainingState(), state)) == state
    assert core.save(state, state) == {}


@pytest.mark.parametrize("chance", range(5))
def test_36_examples_gain_at_least_3_points(chance: int) -> None:
    start = fit(LICENSED.seed.pairs).accuracy(LICENSED.validation.pairs)
    end = fit([*LICENSED.seed.pairs, *utterances(36, chance)]).accuracy(LICENSED.validation.pairs)
    assert end - start >= 0.03, f"sample {chance}: from {start:.3f} to {end:.3f}"


def test_a_model_survives_its_codec_and_a_changed_weight_does_not() -> None:
    model = fit(LICENSED.seed.pairs)
    again = IntentModel.load(model.dump())
    assert again.predict(["wake me at seven"]) == model.predict(["wake me at seven"])
    changed = model.dump()
    changed["weights"] = "AAAA" + changed["weights"][4:]
    with pytest.raises(ValueError, match="digest is not that of its weights"):
        IntentModel.load(changed)
    assert version_key(3) == b"model/3"


def test_predictions_equal_scikit_learn() -> None:
    pairs = LICENSED.seed.pairs
    regression = LogisticRegression(
        C=intent.INVERSE_REGULARISATION,
        class_weight="balanced",
        max_iter=intent.ITERATIONS_MAX,
        random_state=0,
    )
    hashing = HashingVectorizer(
        n_features=MODEL_FEATURES, analyzer="char_wb", ngram_range=(2, 4), alternate_sign=False
    )
    regression.fit(hashing.transform([text for text, _ in pairs]), [name for _, name in pairs])
    asked = [text for text, _ in LICENSED.validation.pairs[:50]]
    assert [name for name, _ in fit(pairs).predict(asked)] == list(
        regression.predict(hashing.transform(asked))
    )


def test_no_word_of_an_utterance_is_in_a_model_version() -> None:
    written, _ = train(examples([("zanzibar expedition", "alarm_set"), *utterances(5, 6)]))
    for record in written:
        assert b"zanzibar" not in (record.value or b"")


def test_examples_of_before_they_had_a_language_are_learned_from_as_before() -> None:
    """They stay on the topic for as long as its retention; a new run reads all of it."""
    records = examples(utterances(12, 1))

    def former(record: Received) -> Received:
        fields = orjson.loads(record.value or b"")
        del fields["columns"]["language"], fields["columns"]["agreement"]
        return StoredRecord(
            record.offset, record.timestamp, record.key, orjson.dumps(fields), tuple(record.headers)
        )

    (now, then) = (train(some, every=12)[0] for some in (records, list(map(former, records))))
    (made,), (before,) = versions(now), versions(then)
    assert before.model.digest == made.model.digest
    assert before.manifest == made.manifest
    languages = [
        [row["subject"] for row in table(written, "training_checks") if row["name"] == "language"]
        for written in (now, then)
    ]
    assert languages == [["en"], ["unknown"]]


@pytest.mark.parametrize("agreement", [-0.1, 1.1])
def test_an_agreement_beyond_its_range_is_no_example(agreement: float) -> None:
    (record,) = examples(utterances(1, 1))
    fields = orjson.loads(record.value or b"")
    fields["columns"]["agreement"] = [agreement]
    forged = StoredRecord(0, record.timestamp, record.key, orjson.dumps(fields), tuple(record.headers))
    written, _ = train([forged])
    (rejected,) = table(written, "rejected")
    assert rejected["outcome"] == "malformed"
    assert "agreement: found none from 0 to 1" in rejected["reason"]
