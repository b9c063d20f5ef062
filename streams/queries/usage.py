"""The question `usage`: how many answers were given, and what people said of them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from streams.errors import InputError
from streams.limits import NUMBER_MAX
from streams.queries.answers import Answer, Bounded
from streams.queries.models import has_view
from streams.queries.store import Store

#: What answers and feedback are counted by: the generation that answered, the zone, the wearer, the day.
UsageBy: TypeAlias = Literal["version", "zone", "wearer", "day"]


class Used(Struct, frozen=True):
    """Answers of one version, zone, wearer or day, and the feedback on them.

    `choices` of the feedback is by a thumb or a choice. `right_percent` is the share of what was confirmed in
    all feedback that says whether the answer was right; None if none does. `shadow_judged` is how often
    feedback says that of an answer which a declined version gave in shadow, `shadow_right_percent` how often
    it was right, and `served_right_percent` how often, of the same queries, the answer that was heard.
    """

    of: str
    answers: int
    feedback: int
    choices: int
    confirmed: int
    corrected: int
    denied: int
    unclear: int
    right_percent: float | None
    shadow_judged: int
    shadow_right_percent: float | None
    served_right_percent: float | None


class Usage(Answer, frozen=True, kw_only=True):
    """How many answers were given, and what people said of them, as far as the role may see it.

    `recorded`: the store keeps what feedback says; one of before has only the answers.
    """

    by: UsageBy
    epoch: int
    recorded: bool
    usage: Bounded[Used]


def usage(store: Store, by: UsageBy = "version") -> Usage:
    """Return answers and feedback by version, zone, wearer or day (in UTC, by capture time).

    An answer counts where it was given, feedback where it was. InputError if `by` is another word.
    """
    if by not in get_args(UsageBy):
        raise InputError(f"by: found {by!r}, expected one of {', '.join(get_args(UsageBy))}")
    answers = dict(store.shown("usage_answers", {"by": by}).rows)
    recorded = has_view(store, "feedback")
    told = store.shown("usage_feedback", {"by": by}).rows if recorded else []
    feedback = {key: counts for key, *counts in told}
    shadow: dict[str, tuple[int, int, int]] = {}
    if recorded and by == "version":
        shadow = {key: (judged, *right) for key, judged, *right in store.shown("usage_shadow").rows}
    keys = sorted(answers.keys() | feedback.keys() | shadow.keys(), key=_rank)
    return Usage(
        by=by,
        epoch=store.epoch,
        recorded=recorded,
        usage=Bounded.of(
            [
                _used(key, answers.get(key, 0), shadow.get(key, (0, 0, 0)), *feedback.get(key, [0] * 5))
                for key in keys
            ]
        ),
    )


def _rank(key: str) -> tuple[int, str]:
    """Numbers in their order, before texts."""
    return (int(key), "") if key.isdigit() else (NUMBER_MAX, key)


def _used(
    key: str,
    answers: int,
    shadow: tuple[int, int, int],
    choices: int,
    confirmed: int,
    corrected: int,
    denied: int,
    unclear: int,
) -> Used:
    judged = confirmed + corrected + denied
    return Used(
        key,
        answers,
        judged + unclear,
        choices,
        confirmed,
        corrected,
        denied,
        unclear,
        _percent(confirmed, judged),
        shadow[0],
        _percent(shadow[1], shadow[0]),
        _percent(shadow[2], shadow[0]),
    )


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
