"""What an erasure can claim of each place when it is finished, signed.

It claims no more than what its steps did: where only use has stopped, or nobody here can look, it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal

from streams.consent.erased import Scope
from streams.events.headers import rfc3339
from streams.models.registry import ModelVersions
from streams.models.version import SOURCE, STREAM
from streams.policy.policy import Policy
from streams.policy.possible import leaves_open
from streams.policy.rules import SecondOrder
from streams.rights.receipt import (
    PLACES,
    KeptItem,
    Level,
    PlaceName,
    PlaceOutcome,
    Receipt,
    Refitted,
    subject_of,
)
from streams.sealing.erasures import Done, Requested, Step
from streams.topology import LINEAGE, topic

#: How much of a topic is sealed, under the policies that tagged what it holds.
Sealed = Literal["nothing", "some", "all"]
#: Of the step `store`: nobody waited for one.
NO_STORE = -1
#: Places where its steps did nothing, and why.
_NOT_LOOKED_AT: Mapping[PlaceName, tuple[Level, str]] = {
    "glasses.state": ("not-verifiable", "cleared with the next records of each partition"),
    "glasses.rejected": ("not-verifiable", "malformed records keep their bytes for 24 h"),
    "logs": ("not-verifiable", "of processes; they hold no values"),
    "backups": ("not-verifiable", "refused when restored, by the erasure on glasses.consents"),
    "device": ("out-of-scope", "the journal is the device's own; refused when sent again"),
    "exports": ("not-verifiable", "who has one is on record in the audit log"),
    "other-consumers": ("not-verifiable", "other teams read the topics; keys open nothing for them"),
    "bystanders": ("out-of-scope", "they have no id; by place and time only"),
}
_READS = "lines; a mark stands for each id, and who read what stays"
_KEYS = "keys"
_KEYS_THERE = f"{_KEYS}; what they seal of the same days and of elsewhere is unreadable too"
_WITHDRAWN = KeptItem(
    item="consent and its withdrawal on glasses.consents", reason="GDPR Art. 7(1), 17(3)(b)"
)
#: An erasure of a place withdraws nothing.
_CONSENT = KeptItem(
    item="consent on glasses.consents, by which all else is used", reason="GDPR Art. 7(1), 17(3)(b)"
)
_KEPT = (
    KeptItem(item="notices and receipts on glasses.notices", reason="GDPR Art. 7(1), 17(3)(b)"),
    KeptItem(item="the erasure with a mark on glasses.consents", reason="GDPR Art. 17(1), so it stays away"),
    KeptItem(item="this receipt", reason="GDPR Art. 5(2), 17(3)(e)"),
)


#: What becomes of others' examples of the second order.
_SECOND: Mapping[SecondOrder, str] = {
    "keep": "learned from as before",
    "review": "held until a person reviewed the query",
    "drop": "not learned from any more",
}


def why_of(number: int) -> str:
    """Why an earlier model version serves after an erasure."""
    return f"erasure {number}"


def text_of(scope: Scope) -> str:
    """A scope in words: `all`, `since 2026-09-21T00:00:00Z`, `place home`, `place home until ...`."""
    if not scope.place:
        return f"since {_time(scope.since_ns)}" if scope.since_ns else "all"
    within = (("from", scope.since_ns), ("until", scope.until_ns))
    return " ".join([f"place {scope.place}", *(f"{word} {_time(at_ns)}" for word, at_ns in within if at_ns)])


def _time(at_ns: int) -> str:
    """A time without the part of a second that it has not."""
    return rfc3339(at_ns).replace(".000000", "")


def receipt_of(
    requested: Requested,
    finished: Done,
    *,
    wearer: str,
    salt: bytes,
    policy_version: str,
    second_order: SecondOrder,
    refitted: tuple[Refitted, ...],
    lines: int | None = None,
    sealed: Mapping[str, Sealed] | None = None,
) -> Receipt:
    """The receipt of an erasure all of whose steps but the last are done.

    `lines` of the audit log had ids in them; None if nobody can tell. `sealed` says of a topic how much of it
    was sealed, if anything was.

    The broker dates what was stopped, and this machine the rest; a receipt has times in the order of the
    steps, so a clock that is behind counts as the one before.
    """
    stopped, keys, fitted, rows, finished = _in_order([*(requested.steps[step] for step in _STEPS), finished])
    stores, place = requested.steps["store"].things != NO_STORE, requested.scope.place
    outcomes = [
        _use_stopped("decisions", stopped, ""),
        *(_kept_briefly(each, (sealed or {}).get(each, "nothing"), stopped, keys) for each in _KEPT_BRIEFLY),
        _use_stopped("glasses.lineage", stopped, f"ids, no values; gone within {topic(LINEAGE).kept}"),
        _use_stopped("glasses.consents", stopped, "what was said is kept as proof"),
        _use_stopped("glasses.notices", stopped, "what was told is kept as proof"),
        _unreadable("glasses.examples", keys, _KEYS_THERE if place else _KEYS),
        PlaceOutcome(
            place="glasses.models",
            level="refitted" if refitted else "stopped",
            count=fitted.things,
            at_ns=fitted.at_ns,
            note="versions that learned from it; none serves, and compaction removes their values",
        ),
        PlaceOutcome(
            place="store",
            level="rewritten" if stores else "not-verifiable",
            count=rows.things if stores else 0,
            at_ns=rows.at_ns if stores else 0,
            note="rows; the former files are deleted" if stores else "no store was waited for",
        ),
        PlaceOutcome(
            place="reads",
            level="not-verifiable" if lines is None else "rewritten",
            count=lines or 0,
            at_ns=0 if lines is None else rows.at_ns,
            note="who read what may keep ids that were asked for" if lines is None else _READS,
        ),
        *(
            PlaceOutcome(place=place, level=level, note=note)
            for place, (level, note) in _NOT_LOOKED_AT.items()
        ),
    ]
    return Receipt(
        id=f"{requested.number:032d}",
        subject=subject_of(wearer, salt),
        scope=text_of(requested.scope),
        policy_version=policy_version,
        requested_ns=min(requested.steps["requested"].at_ns, stopped.at_ns),
        stopped_ns=stopped.at_ns,
        keys_destroyed_ns=keys.at_ns,
        finished_ns=finished.at_ns,
        places=tuple(sorted(outcomes, key=lambda each: PLACES.index(each.place))),
        kept=(
            _CONSENT if place else _WITHDRAWN,
            *_KEPT,
            *_kept_of_others(requested.steps["second"].things, second_order),
        ),
        refitted=refitted,
    )


_STEPS: tuple[Step, ...] = ("stopped", "unreadable", "models", "store")
_KEPT_BRIEFLY: tuple[PlaceName, ...] = (
    "glasses.captured",
    "glasses.zoned",
    "glasses.derived",
    "glasses.answers",
)


def _kept_of_others(count: int, second_order: SecondOrder) -> list[KeptItem]:
    """What is kept of others that was made with versions which learned from the wearer."""
    if not count:
        return []
    reason = f"data of others, GDPR Art. 17(1) is about one's own; {_SECOND[second_order]}"
    return [KeptItem(item="examples of others made with those versions", reason=reason, count=count)]


def _in_order(steps: Sequence[Done]) -> list[Done]:
    """Steps with times that never decrease."""
    latest = accumulate((step.at_ns for step in steps), max)
    return [Done(at_ns, step.things) for at_ns, step in zip(latest, steps, strict=True)]


def _use_stopped(place: PlaceName, stopped: Done, note: str) -> PlaceOutcome:
    return PlaceOutcome(place=place, level="stopped", at_ns=stopped.at_ns, note=note)


def _unreadable(place: PlaceName, keys: Done, note: str) -> PlaceOutcome:
    return PlaceOutcome(place=place, level="unreadable", count=keys.things, at_ns=keys.at_ns, note=note)


def _kept_briefly(place: PlaceName, sealed: Sealed, stopped: Done, keys: Done) -> PlaceOutcome:
    """What holds on a topic that retention empties soon: where all is sealed nothing waits for that."""
    if sealed == "all":
        return _unreadable(place, keys, _KEYS)
    gone = f"gone by retention within {topic(place).kept}"
    return _use_stopped(
        place, stopped, f"what is sealed is unreadable, the rest {gone}" if sealed == "some" else gone
    )


def sealed_since(place: str, in_force: Sequence[tuple[int, Policy]], stopped_ns: int) -> Sealed:
    """How much of what a topic holds of before `stopped_ns` is sealed.

    `in_force` are the policies and since when (ns) each was; what they tagged is there for as long as the
    topic keeps it.
    """
    since_ns = stopped_ns - topic(place).kept_ms * 1_000_000
    ends_ns = [*(at_ns for at_ns, _ in in_force[1:]), stopped_ns]
    policies = [policy for (_, policy), end_ns in zip(in_force, ends_ns, strict=True) if end_ns >= since_ns]
    if not any(policy.seals_zones for policy in policies):
        return "nothing"
    return "some" if any(leaves_open(policy, place) for policy in policies) else "all"


def refitted_since(models: ModelVersions, number: int, stopped_ns: int) -> tuple[Refitted, ...]:
    """The version that serves, if it was fitted after the erasure `number`, beside the one before it."""
    serving, back = models.versions[models.serving], models.rollback
    # Where a version went on that learned nothing from the wearer, nothing is fitted in its place.
    own = back is not None and back.why == why_of(number) and back.before != back.version
    before = models.digest(back.before) if back is not None and own else ""
    if not before or serving.trained_ns <= stopped_ns:
        return ()
    return (
        Refitted(
            model=f"{SOURCE}/{STREAM}/{serving.version}",
            digest_before=before,
            digest_after=serving.model.digest,
        ),
    )
