"""What a run looks at in its examples before it learns from them, against the bounds of the policy.

A run is *held* if a check is beyond its bound: no version is made, the reason is recorded, and the next run
looks again. Shares are of the wearers' examples that the run would learn from; the licensed seed is none of
them. With fewer than `examples_min`, a share says nothing, and holds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from streams.events.batch import Batch
from streams.policy.rules import PERSONAL_CHECKS, CheckName, CheckOutcome, TrainingBounds
from streams.training.gate import Candidate
from streams.training.lesson import Lesson
from streams.training.outliers import Outlier
from streams.training.splits import key_of

#: Checks by name, and what each says of the examples that it counts.
CHECKS: Mapping[CheckName, str] = {
    "intent": "mean one intent",
    "zone": "are of one zone",
    "wearer": "are of one wearer",
    "device": "are from one device",
    "language": "are of one language",
    "repeated": "repeat what the same wearer said before, with the same meaning",
    "contradicting": "have an utterance that means something else in more of the others",
    "left-out": "are from devices that contradict all others",
    "wearer-weight": "are of a wearer who has many more than the median one, and count less",
    "outlier": "are from a device and contradict what all other devices say",
}


_UNKNOWN = "unknown"  #: language of an example that names none


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a run: that `examples` of `judged` are what `name` says, and its bound in percent.

    `subject` is the intent, zone, wearer or device that it is about, empty if it is about all.
    """

    name: CheckName
    subject: str
    examples: int
    judged: int
    percent_max: float
    outcome: CheckOutcome

    @property
    def percent(self) -> float:
        """Share of the examples, in percent."""
        return round(100 * self.examples / self.judged, 2) if self.judged else 0.0

    @property
    def reason(self) -> str:
        """A sentence about what was found and what was expected."""
        # Whom a check is about is in `training_checks` alone, where an erasure finds it.
        about = f" ({self.subject})" if self.subject and self.name not in PERSONAL_CHECKS else ""
        return (
            f"{self.examples} of {self.judged} examples {CHECKS[self.name]}{about}: {self.percent:g} %, "
            f"expected at most {self.percent_max:g} %"
        )


def examined(learned: Sequence[Candidate], lesson: Lesson, bounds: TrainingBounds) -> list[Check]:
    """Check the examples that a run would learn from, and name the wearers whose examples count less.

    What a wearer repeats on a device counts once, except for the check of repeats: a loudspeaker that says
    one sentence for ever cannot hold every run.
    """
    distinct = {
        (candidate.tagged.batch.source, *_told(candidate.tagged.batch)): candidate for candidate in learned
    }
    tagged = [candidate.tagged for candidate in distinct.values()]
    meant = [_told(each.batch)[1:] for each in tagged]
    largest: Mapping[CheckName, tuple[Sequence[str], int]] = {
        "intent": ([intent for _, intent in meant], bounds.intent_percent_max),
        "zone": ([each.zone for each in tagged], bounds.zone_percent_max),
        "wearer": ([each.batch.wearer_id for each in tagged], bounds.wearer_percent_max),
        "device": ([each.batch.source for each in tagged], bounds.device_percent_max),
        "language": ([_language(each.batch) for each in tagged], bounds.language_percent_max),
    }
    checks = [_largest(name, values, most) for name, (values, most) in largest.items()]
    repeated = len(learned) - len(distinct)
    checks += [
        Check("repeated", "", repeated, len(learned), bounds.repeated_percent_max, "passed"),
        Check(
            "contradicting", "", _minorities(meant), len(meant), bounds.contradicting_percent_max, "passed"
        ),
    ]
    if len(learned) >= bounds.examples_min:
        checks = [_bounded(check) for check in checks]
    return [*checks, *_weighted(lesson)]


def _language(example: Batch) -> str:
    return example.columns["language"][0] or _UNKNOWN


def _weighted(lesson: Lesson) -> list[Check]:
    given = Counter(wearer for wearer in lesson.wearers if wearer)
    return [
        Check("wearer-weight", wearer, given[wearer], given.total(), round(100 * factor, 2), "weighted")
        for wearer, factor in lesson.factors.items()
    ]


def left_out(outliers: Sequence[Outlier], lesson: Lesson, bounds: TrainingBounds) -> list[Check]:
    """Name the devices that are left out, and check that most examples remain."""
    if not outliers:
        return []
    names = {each.device for each in outliers}
    given = {
        (device, key_of(utterance), intent)
        for device, (utterance, intent) in zip(lesson.devices, lesson.pairs, strict=True)
        if device
    }
    gone = sum(device in names for device, *_ in given)
    return [
        *(
            Check(
                "outlier",
                each.device,
                each.contradicted,
                each.examples,
                round(100 * each.others_share, 2),
                "left-out",
            )
            for each in outliers
        ),
        _bounded(Check("left-out", "", gone, len(given), bounds.left_out_percent_max, "passed")),
    ]


def held(checks: Sequence[Check]) -> str:
    """Why a run is held; empty if it is not."""
    return "; ".join(check.reason for check in checks if check.outcome == "held")


def _largest(name: CheckName, values: Sequence[str], percent_max: float) -> Check:
    """Check the most frequent value, of several the first by name."""
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    subject, count = counts[0] if counts else ("", 0)
    return Check(name, subject, count, len(values), percent_max, "passed")


def _minorities(pairs: Sequence[tuple[Hashable, str]]) -> int:
    """Count the pairs whose second part is not the one that their first part has most often."""
    meanings: dict[Hashable, Counter[str]] = {}
    for utterance, meant in pairs:
        meanings.setdefault(utterance, Counter())[meant] += 1
    return len(pairs) - sum(max(counts.values()) for counts in meanings.values())


def _bounded(check: Check) -> Check:
    return replace(check, outcome="held" if check.percent > check.percent_max else "passed")


def _told(batch: Batch) -> tuple[str, str, str]:
    """Wearer, digest of the utterance, and intent of an example."""
    return batch.wearer_id, key_of(batch.columns["utterance"][0]), batch.columns["intent"][0]
