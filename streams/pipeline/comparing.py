"""Model families on the manifest of one version: what each would have made of the same examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.events.runs import Run
from streams.limits import GROUP_EXAMPLES_MIN
from streams.models.families import FAMILIES
from streams.models.version import ModelVersion, ids_of
from streams.training import promotion, run
from streams.training.gate import Candidate
from streams.training.seed import Licensed


@dataclass(frozen=True, slots=True)
class Compared:
    """A family on the examples of a version.

    `examples` are those of wearers that may still be learned from. `accuracy` is on the licensed validation
    set, `worst_wearer` the lowest of a wearer with at least GROUP_EXAMPLES_MIN kept examples, None if there
    is none. `fit_ms` is once for a version, `answers_1000_ms` for 1,000 answers. `better` and `worse` count
    the validation set against the family that training uses.
    """

    family: str
    examples: int
    accuracy: float
    worst_wearer: float | None
    better: int
    worse: int
    bytes: int
    fit_ms: float
    answers_1000_ms: float


def compared(
    version: ModelVersion, candidates: Sequence[Candidate], licensed: Licensed, now_s: Callable[[], float]
) -> list[Compared]:
    """Fit every family on what a version learned from, and measure them alike.

    `candidates` are all examples at the gate, now; `now_s` is a monotonic clock.
    """
    manifest = version.manifest
    learned = _named(candidates, manifest.admitted)
    lesson = run.lesson_of(licensed.seed, learned)
    validation = promotion.validation_of(
        licensed.validation, _named(candidates, manifest.validation), lesson.pairs
    )
    rows, first = list[Compared](), list[bool]()
    for family, fit in FAMILIES.items():
        begun_s = now_s()
        model = fit(lesson.pairs, lesson.weights)
        fitted_s = now_s()
        right = model.right(validation.pairs)
        asked_s = now_s() - fitted_s
        first = first or right
        outcomes = Counter(zip(right, first, strict=True))
        rows.append(
            Compared(
                family,
                len(learned),
                round(sum(right[: validation.licensed]) / validation.licensed, 4),
                _worst(right, validation.wearers),
                outcomes[True, False],
                outcomes[False, True],
                model.weights.nbytes + model.bias.nbytes,
                round(1000 * (fitted_s - begun_s), 1),
                round(1e6 * asked_s / len(right), 1),
            )
        )
    return rows


def _named(candidates: Sequence[Candidate], runs: Sequence[tuple[str, str, Run]]) -> list[Candidate]:
    """Those of some candidates that a manifest names and that are still admitted."""
    names = set(ids_of(runs))
    return [candidate for candidate in candidates if candidate.admitted and candidate.id in names]


def _worst(right: Sequence[bool], wearers: Sequence[str]) -> float | None:
    counts = Counter(wearer for wearer in wearers if wearer)
    known = Counter(wearer for wearer, true in zip(wearers, right, strict=True) if wearer and true)
    return min(
        (round(known[wearer] / count, 4) for wearer, count in counts.items() if count >= GROUP_EXAMPLES_MIN),
        default=None,
    )
