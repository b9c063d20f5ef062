"""One training run: from the examples that the gate admits to the next model version.

It is deterministic and has no clock.

Every run starts from scratch: all candidates are read and judged again, at the time of the example that
triggered the run, so the next version does not learn from examples that have expired by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streams.events.runs import Parent, Run, consecutive
from streams.limits import MANIFEST_BYTES_MAX
from streams.models.intent import IntentModel, fit
from streams.models.version import Manifest, ModelVersion
from streams.policy.crossing import Cited, joined
from streams.policy.policy import Policy
from streams.policy.rules import MODEL_TRAINING
from streams.training.gate import Candidate
from streams.training.seed import SOURCE, STREAM, Examples

_RUN_BYTES = 160  #: bytes of a run in the manifest, among the parents and for its wearer, without names
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the child process returns: the model's JSON-able form and its accuracy on the evaluation set."""

    model: dict[str, object]
    accuracy: float


def fit_and_measure(pairs: Sequence[Pair], evaluation: Sequence[Pair]) -> Fitted:
    """Fit on `pairs`, measure on `evaluation`.

    It is called in a child process, because a fit would stop the event loop.
    """
    model = fit(pairs)
    return Fitted(model.dump(), round(model.accuracy(evaluation), 4))


def within(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates for which a model's record has room, in the same order.

    Admitted ones are preferred, and among them the newest of each device, so that a device with many examples
    does not displace one with few. If an identity occurs twice, only the first counts, because a second can
    only be an attempt to change it.
    """
    places: dict[str, int] = {}
    for place, candidate in enumerate(candidates):
        places.setdefault(candidate.id, place)
    newer, ranked = Counter[tuple[bool, str]](), list[tuple[bool, int, int]]()
    for place in sorted(places.values(), reverse=True):
        candidate = candidates[place]
        of = candidate.admitted, candidate.tagged.batch.source
        ranked.append((not candidate.admitted, newer[of], -place))
        newer[of] += 1
    room, kept = MANIFEST_BYTES_MAX, list[int]()
    named: dict[tuple[str, str, str], set[int]] = {}
    for _, _, place in sorted(ranked):
        candidate = candidates[-place]
        batch = candidate.tagged.batch
        rule = "" if candidate.admitted else candidate.rule
        numbers = named.setdefault((batch.source, batch.stream, rule), set())
        if not numbers & {batch.run.first - 1, batch.run.first + 1}:
            room -= (
                _RUN_BYTES + 2 * len(batch.source) + 2 * len(batch.stream) + len(batch.wearer_id) + len(rule)
            )
        if room < 0:
            break
        numbers.add(batch.run.first)
        kept.append(-place)
    return [candidates[place] for place in sorted(kept)]


def pairs_of(seed: Examples, candidates: Sequence[Candidate]) -> list[Pair]:
    """What a run learns from: the seed, then the admitted examples in the order of their topic."""
    return [
        *seed.pairs,
        *(
            (candidate.tagged.batch.columns["utterance"][0], candidate.tagged.batch.columns["intent"][0])
            for candidate in candidates
            if candidate.admitted
        ),
    ]


def manifest_of(seed: Examples, candidates: Sequence[Candidate], left_out: int = 0) -> Manifest:
    """Admitted and refused candidates as runs, and the number `left_out` that the run did not consider."""
    admitted: dict[tuple[str, str], list[int]] = {}
    refused: dict[tuple[str, str, str], list[int]] = {}
    for candidate in candidates:
        batch = candidate.tagged.batch
        if candidate.admitted:
            admitted.setdefault((batch.source, batch.stream), []).append(batch.run.first)
        else:
            refused.setdefault((batch.source, batch.stream, candidate.rule), []).append(batch.run.first)
    wearers: dict[str, list[int]] = {}
    for wearer, number in sorted(
        {
            (candidate.tagged.batch.wearer_id, candidate.tagged.consent_number)
            for candidate in candidates
            if candidate.admitted
        }
    ):
        wearers.setdefault(wearer, []).append(number)
    return Manifest(
        len(seed.pairs),
        seed.digest,
        [
            (source, stream, run)
            for (source, stream), numbers in sorted(admitted.items())
            for run in _cover(numbers)
        ],
        [
            (source, stream, run, rule)
            for (source, stream, rule), numbers in sorted(refused.items())
            for run in _cover(numbers)
        ],
        wearers,
        left_out,
    )


def _cover(numbers: Sequence[int]) -> list[Run]:
    return consecutive(sorted(set(numbers)))


def seed_label(policy: Policy) -> bytes:
    """Label of the licensed seed: that of an example without parents."""
    return policy.inherited_label("example", ())


def make_version(
    version: int,
    fitted: Fitted,
    manifest: Manifest,
    candidates: Sequence[Candidate],
    policy: Policy,
    now_ns: int,
) -> ModelVersion:
    """Assemble a version; its label is the join of the labels of all its parents.

    The declassifier loosens its retention. The label is empty, and passes nowhere, if this policy cannot
    express the label of a parent.
    """
    licensed = Parent(SOURCE, STREAM, 0, 1, manifest.seed_examples)
    parents = [Cited(licensed, policy.seed_zone, seed_label(policy), None, None)]
    parents += [Cited.of(candidate.tagged) for candidate in candidates if candidate.admitted]
    zone, whole = joined(policy, "model", parents)
    used = len(parents) > 1
    label = policy.declassify(MODEL_TRAINING, whole, len(manifest.wearers)) if used else whole
    return ModelVersion(
        version,
        IntentModel.load(fitted.model),
        manifest,
        zone,
        label,
        policy.version,
        fitted.accuracy,
        now_ns,
        policy.expires_ns(label, now_ns) if label else now_ns,
        MODEL_TRAINING if label != whole else "",
    )
