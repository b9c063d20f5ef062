"""One training run: from the examples that the gate admits to the next model version.

It is deterministic and has no clock.

Every run starts from scratch: all candidates are read and judged again, at the time of the example that
triggered the run, so the next version does not learn from examples that have expired by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal, get_args

from streams.events.runs import Parent, Run, consecutive
from streams.limits import ADMITTED_MAX, MANIFEST_BYTES_MAX
from streams.models.intent import IntentModel, fit
from streams.models.version import Manifest, ModelVersion
from streams.policy.crossing import Cited, joined
from streams.policy.policy import Policy
from streams.policy.rules import MODEL_TRAINING
from streams.training.gate import Candidate
from streams.training.lesson import Lesson
from streams.training.outliers import Outlier, outliers
from streams.training.promotion import Validation
from streams.training.seed import SOURCE, STREAM, Examples
from streams.training.splits import Split, key_of, split_of

_RUN_BYTES = 160  #: bytes of a run in the manifest, among the parents and for its wearer, without names
#: Refuses an example of the train split whose utterance is a licensed one of the validation set.
RESERVED_RULE = "validation: its utterance is one that versions are measured on"
#: Refuses an example of a device that contradicts all others (`streams.training.outliers`).
OUTLIER_RULE = "outlier: its device contradicts what all other devices say"
Part = Literal["refused"] | Split


@dataclass(frozen=True, slots=True)
class Fitted:
    """What the child process returns.

    `model` is the model's JSON-able form; `right` says for each example of the validation set whether it
    understood it, `before` the same of the version that serves (empty if there is none). All are without
    what the `outliers` said.
    """

    model: dict[str, object]
    right: Sequence[bool]
    before: Sequence[bool] = ()
    outliers: Sequence[Outlier] = ()


@dataclass(frozen=True, slots=True)
class Material:
    """The candidates of a run, in the order of their topic, by what the run may do with them.

    It learns from `learned` and compares on `validation`; `test` it does not touch. `refused` adds the rule.
    """

    learned: Sequence[Candidate] = ()
    validation: Sequence[Candidate] = ()
    test: Sequence[Candidate] = ()
    refused: Sequence[tuple[Candidate, str]] = ()


def fit_and_measure(lesson: Lesson, validation: Validation, serving: IntentModel | None = None) -> Fitted:
    """Fit on a lesson without its outliers; measure it, and the model that serves, on `validation`.

    It is called in a child process, because a fit would stop the event loop.
    """
    contradicting = outliers(lesson)
    devices = {outlier.device for outlier in contradicting}
    rest, measured = lesson.without(devices), validation.without(devices).pairs
    model = fit(rest.pairs, rest.weights)
    before = () if serving is None else serving.right(measured)
    return Fitted(model.dump(), model.right(measured), before, contradicting)


def part_of(
    candidate: Candidate, reserved: Set[str], streams: Sequence[str] | None = None
) -> tuple[Part, str]:
    """(part, rule) of a candidate; `reserved` are the digests of the licensed validation set.

    `streams` are those that the policy permits to learn from, None: all. The rule is empty unless the
    candidate is refused.
    """
    if not candidate.admitted:
        return "refused", candidate.rule
    batch = candidate.tagged.batch
    stream = batch.stream.partition("~")[0]
    if streams is not None and stream not in streams:
        return "refused", f"training_assets.streams: {stream} is none of {', '.join(streams) or 'nothing'}"
    split = split_of(batch.wearer_id, batch.t0_ns)
    if split == "train" and key_of(batch.columns["utterance"][0]) in reserved:
        return "refused", RESERVED_RULE
    return split, ""


def divided(
    candidates: Sequence[Candidate],
    reserved: Set[str] = frozenset(),
    streams: Sequence[str] | None = None,
) -> Material:
    """Divide candidates by `part_of`, keeping their order."""
    parts: dict[Part, list[tuple[Candidate, str]]] = {}
    for candidate in candidates:
        part, rule = part_of(candidate, reserved, streams)
        parts.setdefault(part, []).append((candidate, rule))
    learned, validation, test = (
        [candidate for candidate, _ in parts.get(split, ())] for split in get_args(Split)
    )
    return Material(learned, validation, test, parts.get("refused", ()))


def within(
    candidates: Sequence[Candidate],
    reserved: Set[str] = frozenset(),
    most: int = ADMITTED_MAX,
    streams: Sequence[str] | None = None,
) -> list[Candidate]:
    """At most `most` candidates, for which a model's record has room, in the same order.

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
    named: dict[tuple[str, str, Part, str], set[int]] = {}
    for _, _, place in sorted(ranked)[:most]:
        candidate = candidates[-place]
        batch = candidate.tagged.batch
        part, rule = part_of(candidate, reserved, streams)
        numbers = named.setdefault((batch.source, batch.stream, part, rule), set())
        if not numbers & {batch.run.first - 1, batch.run.first + 1}:
            room -= (
                _RUN_BYTES + 2 * len(batch.source) + 2 * len(batch.stream) + len(batch.wearer_id) + len(rule)
            )
        if room < 0:
            break
        numbers.add(batch.run.first)
        kept.append(-place)
    return [candidates[place] for place in sorted(kept)]


def lesson_of(seed: Examples, learned: Sequence[Candidate]) -> Lesson:
    """What a run learns from: the seed, then wearers' examples in the order of their topic."""
    nobody = Lesson.of_nobody(seed.pairs)
    batches = [candidate.tagged.batch for candidate in learned]
    return Lesson(
        [*nobody.pairs, *((batch.columns["utterance"][0], batch.columns["intent"][0]) for batch in batches)],
        [*nobody.wearers, *(batch.wearer_id for batch in batches)],
        [*nobody.devices, *(batch.source for batch in batches)],
        [*nobody.agreements, *(candidate.agreement for candidate in learned)],
    )


def without(material: Material, devices: Set[str]) -> Material:
    """Refuse what some devices would have taught, as outliers, and do not compare on it either."""
    learned, validation = (
        [[each for each in some if (each.tagged.batch.source in devices) is out] for out in (False, True)]
        for some in (material.learned, material.validation)
    )
    refused = [(candidate, OUTLIER_RULE) for candidate in (*learned[1], *validation[1])]
    return Material(learned[0], validation[0], material.test, (*material.refused, *refused))


def manifest_of(seed: Examples, material: Material, left_out: int = 0) -> Manifest:
    """The candidates of a run as runs of numbers, and the number `left_out` that it did not consider."""
    refused: dict[tuple[str, str, str], list[int]] = {}
    for candidate, rule in material.refused:
        batch = candidate.tagged.batch
        refused.setdefault((batch.source, batch.stream, rule), []).append(batch.run.first)
    wearers: dict[str, list[int]] = {}
    for wearer, number in sorted(
        {
            (candidate.tagged.batch.wearer_id, candidate.tagged.consent_number)
            for candidate in material.learned
        }
    ):
        wearers.setdefault(wearer, []).append(number)
    return Manifest(
        len(seed.pairs),
        seed.digest,
        _runs(material.learned),
        [
            (source, stream, run, rule)
            for (source, stream, rule), numbers in sorted(refused.items())
            for run in consecutive(sorted(set(numbers)))
        ],
        wearers,
        left_out,
        _runs(material.validation),
        _runs(material.test),
    )


def _runs(candidates: Sequence[Candidate]) -> list[tuple[str, str, Run]]:
    numbers: dict[tuple[str, str], set[int]] = {}
    for candidate in candidates:
        batch = candidate.tagged.batch
        numbers.setdefault((batch.source, batch.stream), set()).add(batch.run.first)
    return [
        (source, stream, run)
        for (source, stream), some in sorted(numbers.items())
        for run in consecutive(sorted(some))
    ]


def seed_label(policy: Policy) -> bytes:
    """Label of the licensed seed: that of an example without parents."""
    return policy.inherited_label("example", ())


def make_version(
    version: int,
    fitted: Fitted,
    manifest: Manifest,
    learned: Sequence[Candidate],
    policy: Policy,
    now_ns: int,
    *,
    licensed: int,
    declined: str = "",
) -> ModelVersion:
    """Assemble a version; its label is the join of the labels of all its parents.

    Its accuracy is that on the `licensed` first examples of the validation set, which are the same for every
    version. `declined` is the reason why it does not serve, empty if it does.

    The declassifier loosens its retention. The label is empty, and passes nowhere, if this policy cannot
    express the label of a parent.
    """
    origin = Parent(SOURCE, STREAM, 0, 1, manifest.seed_examples)
    parents = [Cited(origin, policy.seed_zone, seed_label(policy), None, None)]
    parents += [Cited.of(candidate.tagged) for candidate in learned]
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
        round(sum(fitted.right[:licensed]) / licensed, 4),
        now_ns,
        policy.expires_ns(label, now_ns) if label else now_ns,
        MODEL_TRAINING if label != whole else "",
        declined,
    )
