"""What an erasure is asked to take: everything, what is of a day and later, or what is of a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from msgspec import structs

from streams import clock
from streams.cli.output import Stores
from streams.consent.erased import ErasedPlace, ErasedTime, Scope
from streams.errors import InputError
from streams.events.batch import Place
from streams.limits import TIME_NS_MAX
from streams.policy.policy import DAY_NS
from streams.queries.audit import asked_as
from streams.queries.role import Role
from streams.queries.spread import time_ns
from streams.queries.stays import rows_in, stays_of, stays_of_all
from streams.queries.store import Store
from streams.sealing.key_store import KeyStore
from streams.topology import TO_WEARER

FORMS = "all|since TIME|place PLACE [from TIME] [until TIME]"
_WITHIN = ("from", "until")


def asked_scope(text: str) -> Scope:
    """The scope that is asked for, without anything that has to be looked up. InputError if it is none.

    Keys are of days, so `since` is from the beginning of that day on (UTC).
    """
    kind, *others = text.split() or [""]
    if kind == "all" and not others:
        return Scope()
    if kind == "since" and others:
        since_ns = _past("--scope", " ".join(others))
        return Scope(since_ns - since_ns % DAY_NS)
    if kind == "place" and others:
        place, *times = others
        named = dict(zip(times[::2], times[1::2], strict=False))
        if len(times) == 2 * len(named) and named.keys() <= {*_WITHIN}:
            return place_scope("--scope", place, *(named.get(word, "") for word in _WITHIN))
    raise InputError(
        f"--scope: found {text}, expected all, since TIME, such as since 2026-09-21, or place PLACE, such as "
        "place home, with from TIME or until TIME behind it"
    )


def place_scope(option: str, place: str, since: str, until: str) -> Scope:
    """What was captured at a place, from one time until another; InputError names the `option`."""
    places = sorted(get_args(Place))
    if place not in places:
        raise InputError(
            f"{option}: found place {place}, expected one that devices name: {', '.join(places)}"
        )
    since_ns, until_ns = (_past(option, time) if time else 0 for time in (since, until))
    if 0 < until_ns < since_ns:
        raise InputError(f"{option}: found from {since} until {until}, expected from before until")
    return Scope(since_ns, until_ns, place)


def _past(option: str, time: str) -> int:
    at_ns = time_ns(time, option)
    if at_ns > clock.now_ns():
        raise InputError(f"{option}: found {time}, a time to come, expected one of before now")
    return at_ns


def begun(keys: KeyStore, wearer: str, scope: Scope) -> Scope | None:
    """The scope of an erasure of the wearer that was interrupted, if it is this one: as it was found then."""
    asked = (each.scope for each in keys.erasures.all() if each.wearer == wearer)
    return next((each for each in asked if each.same(scope)), None)


class Looked:
    """A scope with the stays at its place, as stores have them, and how many rows are of them.

    It is on record in the audit log before it is shown, because it says where the wearer was.
    """

    def __init__(
        self, stores: Stores, role: Role, wearer: str, scope: Scope, question: Mapping[str, object]
    ) -> None:
        with _opened(stores, role) as store:
            spans = stays_of(store, wearer, _where(scope), clock.now_ns())
            self.rows = rows_in(store, wearer, spans) if question.get("--dry-run") else {}
            store.record(asked_as("rights erase", question))
            self.left_out = store.left_out
        self.scope = structs.replace(scope, spans=spans)


class Near:
    """The same for every wearer who was there: scopes by wearer, and how many rows of a store are of each."""

    def __init__(self, stores: Stores, role: Role, scope: Scope, question: Mapping[str, object]) -> None:
        with _opened(stores, role) as store:
            by_wearer = stays_of_all(store, _where(scope), clock.now_ns())
            counted = by_wearer if question.get("--dry-run") else {}
            self.rows = {
                wearer: sum(rows_in(store, wearer, spans).values()) for wearer, spans in counted.items()
            }
            store.record(asked_as("rights bystander", question))
            self.left_out = store.left_out
        self.scopes = {wearer: structs.replace(scope, spans=spans) for wearer, spans in by_wearer.items()}


def _opened(stores: Stores, role: Role) -> Store:
    return Store.open(stores, replace(role, exporting=True, into=TO_WEARER))


def _where(scope: Scope) -> ErasedPlace:
    return ErasedPlace(scope.place, ErasedTime(scope.since_ns, scope.until_ns or TIME_NS_MAX))
