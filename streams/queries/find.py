"""The question `find`: which events there are of a wearer, zone, kind, subject or time."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from streams import limits
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.policy.recheck import StoredPolicies
from streams.queries.answers import Answer, Bounded
from streams.queries.spread import ALWAYS, Window
from streams.queries.store import Store

_NAMES_SHOWN = 20


class FoundRun(Struct, frozen=True):
    """A run of events; `id` is that of the first."""

    id: str
    events: int
    kind: str
    zone: str
    wearer: str
    since: str
    until: str


class Find(Answer, frozen=True, kw_only=True):
    """Runs of events, oldest first; `events` counts all events, including those of runs that are not listed.

    If there are none, `says` explains which values can be asked for.
    """

    epoch: int
    events: int
    says: str | UnsetType = UNSET
    runs: Bounded[FoundRun]


class Wanted(Struct, frozen=True):
    """What `find` looks for; an empty field means any. `subject` is a class: wearer, bystander, minor."""

    wearer: str = ""
    zone: str = ""
    kind: str = ""
    subject: str = ""
    window: Window = ALWAYS


def find(store: Store, wanted: Wanted) -> Find:
    """Return runs of events that the role may see, by wearer, zone, kind, subject and capture time.

    Bystanders have no ids. They can only be found by the subjects in an event's label, its zone and its time.
    """
    rows = store.shown(
        "find",
        {
            "wearer": wanted.wearer,
            "zone": wanted.zone,
            "kind": wanted.kind,
            "since_ns": wanted.window.since_ns,
            "until_ns": wanted.window.until_ns,
            "by_label": bool(wanted.subject),
            "labels": _labels(store, wanted.subject) if wanted.subject else [""],
            "limit": limits.ANSWER_ROWS_MAX,
        },
    ).rows
    runs = tuple(
        FoundRun(identity, events, kind, zone, wearer, rfc3339(since_ns), rfc3339(until_ns))
        for identity, events, kind, zone, wearer, since_ns, until_ns, *_ in rows
    )
    count, events = rows[0][-2:] if rows else (0, 0)
    return Find(
        epoch=store.epoch,
        events=events,
        says=UNSET if rows else _what_there_is(store),
        runs=Bounded(runs, count - len(runs)),
    )


def _labels(store: Store, subject: str) -> list[str]:
    """Labels that name a class of data subjects, each as one text with its policy version."""
    policies = StoredPolicies(store.policies)
    labels = []
    for version, label in store.shown("label_classes").rows:
        try:
            words = policies.version(version).describe(bytes.fromhex(label))
        except (InputError, ValueError, IndexError):
            continue
        if subject in words.get("subjects", "").split(", "):
            labels.append(version + label)
    return labels or [""]


def _what_there_is(store: Store) -> str:
    """Sentence about which zones, kinds and wearers have events that the role may see."""
    rows = store.shown("find_names").rows
    names = [sorted({row[at] for row in rows} - {""}) for at in range(3)]
    zones, kinds, wearers = map(_listed, names)
    shown = "" if store.role_filter is None else f" that the role {store.role_filter.role} is shown"
    return (
        f"no event{shown} is like that. There are events of the zones {zones}; of the kinds {kinds}; of the "
        f"wearers {wearers}; subjects are wearer, bystander and minor"
    )


def _listed(names: Sequence[str]) -> str:
    """Names with commas between them; of many the first ones, and how many there are beside them."""
    more = [f"{len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    return ", ".join([*names[:_NAMES_SHOWN], *more]) or "none"
