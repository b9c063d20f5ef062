"""What feedback means: the intent that it names, or the rule by which it names none.

The meaning follows from the form of one event and from its utterance. Reasons are sentences without words of
the wearer, because they go into the lineage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.errors import MalformedError
from streams.events.intents import INTENT
from streams.policy.step import FeedbackMeaning

#: `thumb` and `choice` name the intent that was meant; the model interprets `spoken`; `rating` has the
#: ratings of two people.
FORMS = ("thumb", "choice", "spoken", "rating")
PRAISE = "general_praise"
RATED_LOW = "rated-low"  #: rule of a rating by which the answer was wrong
#: Spoken feedback other than praise: intent to (rule, reason).
DENIALS: Mapping[str, tuple[str, str]] = {
    "general_negate": ("negated", "the wearer said that the answer was wrong; no example was made"),
    "general_repeat": (
        "asked-again",
        "the wearer asked to hear it again or to try again; no example was made",
    ),
    "general_commandstop": ("stopped", "the wearer told the assistant to stop; no example was made"),
}
#: Rules by which feedback says that an answer was wrong.
DENIED = frozenset({RATED_LOW, *(rule for rule, _ in DENIALS.values())})
#: Minimum confidence of praise that confirms an answer. One of 16 intents is always the likeliest: version 1
#: takes 1,626 of the source's 7,413 utterances of other intents for praise, but only 23 of them with this
#: confidence, which 56 of 64 unseen praises have.
CONFIDENCE_MIN = 0.4
RATINGS = (1, 2, 3, 4)
ACCEPTABLE = 3  #: an answer with at least this rating counts as right


@dataclass(frozen=True, slots=True)
class Meaning:
    """The `intent` that feedback names or confirms; None: there is none, by `rule` and for `reason`.

    `by_model`: a model interpreted the feedback. `agreement` is how much several people agree about it, from
    0 to 1; None: it is of one person.
    """

    intent: str | None
    rule: str = ""
    reason: str = ""
    by_model: bool = False
    agreement: float | None = None

    def about(self, answered: str) -> FeedbackMeaning:
        """What it says of an answer with the intent `answered`."""
        if self.intent is not None:
            return "confirmed" if self.intent == answered else "corrected"
        return "denied" if self.rule in DENIED else "unclear"

    def about_other(self, answered: str, other: str) -> FeedbackMeaning:
        """What it says of `other`, which nobody heard, if the answer that was heard had `answered`."""
        if self.intent is not None:
            return self.about(other)
        return self.about(answered) if other == answered else "unclear"


def utterance(columns: Mapping[str, Sequence[Any]]) -> str | None:
    """Return the utterance of one event's spoken feedback; None if it is not spoken or says nothing."""
    text = columns["text"][0]
    return text if columns["form"][0] == "spoken" and text and text.strip() else None


def meaning(columns: Mapping[str, Sequence[Any]], answered: str, heard: tuple[str, float] | None) -> Meaning:
    """Return what feedback of one event means.

    Parameters
    ----------
    columns
        Columns of kind `feedback`, with one value each.
    answered
        Intent of the answer to which the feedback refers.
    heard
        (intent, confidence 0 ... 1) that the model gives to its `utterance`; None if it has none.

    Raises
    ------
    MalformedError
        The form is not known, or a column does not have the value that the form needs.
    """
    form = columns["form"][0]
    if form in {"thumb", "choice"}:
        return Meaning(_chosen(columns["chosen_intent"][0]))
    if form == "spoken":
        return _spoken(answered, heard)
    if form == "rating":
        return _rated(answered, (columns["rating"][0], columns["second_rating"][0]))
    raise MalformedError(
        f"form: found one that is not known here, expected one of {', '.join(FORMS)}; no example was made"
    )


def reviewed(columns: Mapping[str, Sequence[Any]]) -> Meaning:
    """Return what a person's review of a query means; `columns` are those of kind `review`, one value each.

    MalformedError if the verdict is that an intent was meant, and none is named.
    """
    if columns["verdict"][0] == "unclear":
        return Meaning(
            None, "reviewed-unclear", "who reviewed it could not tell what was meant; no example was made"
        )
    return Meaning(_chosen(columns["chosen_intent"][0]))


def _chosen(intent: str | None) -> str:
    if intent is None or INTENT.fullmatch(intent) is None:
        raise MalformedError(
            "chosen_intent: found no name, expected lower-case letters, digits and underscores, at most 64"
        )
    return intent


def _spoken(answered: str, heard: tuple[str, float] | None) -> Meaning:
    if heard is None:
        raise MalformedError("text: found nothing that was said, expected an utterance; no example was made")
    intent, confidence = heard
    if intent in DENIALS:
        return Meaning(None, *DENIALS[intent])
    if intent == PRAISE and confidence >= CONFIDENCE_MIN:
        return Meaning(answered, by_model=True)
    return Meaning(
        None, "not-understood", "what the wearer said was not understood as feedback; no example was made"
    )


def _rated(answered: str, ratings: tuple[float | None, float | None]) -> Meaning:
    if not all(rating in RATINGS for rating in ratings):
        raise MalformedError(
            "rating, second_rating: found something else, "
            "expected two whole numbers from 1 (bad) to 4 (excellent)"
        )
    given = [float(rating or 0) for rating in ratings]
    good = [rating >= ACCEPTABLE for rating in given]
    if all(good):
        # Weighted agreement of two raters with linear weights (J. Cohen, Psychological Bulletin 70, 1968).
        apart = abs(given[0] - given[1]) / (RATINGS[-1] - RATINGS[0])
        return Meaning(answered, agreement=round(1 - apart, 3))
    if any(good):
        return Meaning(
            None,
            "raters-disagree",
            "one rater finds the answer acceptable and the other does not; no example was made",
        )
    return Meaning(None, RATED_LOW, "both raters rate the answer below acceptable; no example was made")
