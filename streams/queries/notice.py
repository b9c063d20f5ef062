"""The notice to those who wear the glasses (GDPR, Articles 13 and 14), from what was observed.

It says of each category of data what it was used for, where, about whom, and how long it may be used, as the
decisions of the store have it; and how that changed with each policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.policy.plain import about_whom, plain, sentence
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies, labelled_under
from streams.queries.answers import Answer, Bounded
from streams.queries.declared import refused
from streams.queries.flows import DecidedKind, observed
from streams.queries.inventory import newest_policy
from streams.queries.listed import NOBODY
from streams.queries.ropa import NOWHERE, Place, Seen, known
from streams.queries.store import Store

Change = Literal["added", "gone"]


class Told(Struct, frozen=True, kw_only=True):
    """What a notice says of one category of data for one purpose in one region; `text` is the sentence.

    `data`, `used_for`, `about` and `where` are in plain words; `days` is the longest that it may be
    used, `recipients` are sinks.
    """

    category: str
    purpose: str
    region: str
    data: str
    used_for: str
    about: tuple[str, ...]
    days: int
    where: str
    recipients: tuple[str, ...]
    text: str


class NoticeChange(Struct, frozen=True, kw_only=True):
    """What a notice says since a policy and did not before (`added`), or says no longer (`gone`)."""

    policy: str
    since: str | UnsetType = UNSET
    change: Change
    text: str


class Notice(Answer, frozen=True, kw_only=True):
    """A notice of what was done under a policy, of what the role is shown.

    `controller` answers for the policy; `since` is when it came into force. `changes` are those between this
    policy and the ones before. `unread` are policies that decided and whose text the store does not have, so
    nothing is said of them.
    """

    epoch: int
    policy: str
    controller: str
    since: str | UnsetType = UNSET
    unread: tuple[str, ...]
    says: Bounded[Told]
    changes: Bounded[NoticeChange]


#: A policy, since when it decided, and what the notice says under it.
_Lived = tuple[Policy, str | UnsetType, tuple[Told, ...]]


def notice(store: Store, draft: Policy | None = None) -> Notice:
    """Return the notice for the newest policy that decided.

    With `draft`, which need not be published: what the same events would be used for under it, and the
    change to it. InputError if no policy decided about what the role is shown.
    """
    decided, _ = observed(store)
    policies, newest = StoredPolicies(store.policies), newest_policy(store)
    lived = list[_Lived]()
    unread = list[str]()
    # A policy may have come back, so the one that decided last is the last.
    ordered = sorted(store.shown("notice_policies").rows, key=lambda row: row[0] == newest.version)
    for version, name, published_ns in ordered:
        policy = known(policies, version)
        if policy is None:
            unread.append(f"{name} {version}")
            continue
        rows = [row for row in decided if row.policy_version == version]
        lived.append((policy, rfc3339(published_ns), _told(policy, rows, policies)))
    if draft is not None:
        lived.append((draft, UNSET, _told(draft, decided, policies)))
    if not lived:
        raise InputError(
            f"{store.named}: found no decision of a policy in what the role is shown, expected one; ask as "
            "another role (--role), or about a policy file (--policy)"
        )
    policy, since, says = lived[-1]
    return Notice(
        epoch=store.epoch,
        policy=f"{policy.name} {policy.version}",
        controller=policy.owner.says or NOBODY,
        since=since,
        unread=tuple(unread),
        says=Bounded.of(says),
        changes=Bounded.of(_changes(lived)),
    )


def _told(policy: Policy, decided: Iterable[DecidedKind], policies: StoredPolicies) -> tuple[Told, ...]:
    """What is said of decisions that let something pass, as far as a policy permits it."""
    seen: dict[tuple[str, str, str], Seen] = {}
    for row in decided:
        if not row.passed:
            continue
        decided_by = row.policy_version
        zone, label = labelled_under(policy, policies, decided_by, row.attributes, row.zone, row.label)
        own = decided_by == policy.version
        if not label or (not own and refused(policy, zone, label, row.sink)):
            continue
        says = policy.vocabulary.says(label)
        # What is about nobody, as the licensed examples are, is nothing that a wearer is told of.
        if not says["subjects"]:
            continue
        _, purpose, region, _ = Place.of(policy, row.sink, row.purpose)
        for category in says["categories"]:
            place = seen.setdefault((category, purpose, region), Seen())
            place.add(policy, zone, label)
            place.sinks.add(row.sink)
    words = policy.vocabulary
    order = {word: at for at, word in enumerate((*words.categories, *words.purposes, *words.regions))}
    places = sorted(seen, key=lambda place: [order.get(word, len(order)) for word in place])
    return tuple(_sentence(policy, *place, seen[place]) for place in places)


def _sentence(policy: Policy, category: str, purpose: str, region: str, of: Seen) -> Told:
    words, days = policy.vocabulary, max(of.days)
    data, used_for = plain(category, words), plain(purpose, words)
    about = about_whom(of.subjects, words)
    where = plain(region, words) if region != NOWHERE else "in a place that the policy does not name"
    return Told(
        category=category,
        purpose=purpose,
        region=region,
        data=data,
        used_for=used_for,
        about=about,
        days=days,
        where=where,
        recipients=tuple(sorted(of.sinks)),
        text=sentence(data, used_for, where, about, days),
    )


def _changes(lived: Sequence[_Lived]) -> list[NoticeChange]:
    """What each policy changed in the notice, the newest policy first."""
    changes = list[NoticeChange]()
    for (_, _, before), (policy, since, after) in reversed([*pairwise(lived)]):
        old, new = [each.text for each in before], [each.text for each in after]
        changes += _differing("added", policy, since, new, old)
        changes += _differing("gone", policy, since, old, new)
    return changes


def _differing(
    change: Change, policy: Policy, since: str | UnsetType, texts: Sequence[str], others: Sequence[str]
) -> list[NoticeChange]:
    name = f"{policy.name} {policy.version}"
    return [
        NoticeChange(policy=name, since=since, change=change, text=text)
        for text in texts
        if text not in others
    ]
