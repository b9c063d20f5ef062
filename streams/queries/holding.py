"""The questions of the interface for programs that hold a store against a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from streams import limits
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.audit import asked_as
from streams.queries.declared import System
from streams.queries.differing import OverStore, differing
from streams.queries.inventory import Inventory
from streams.queries.inventory import inventory as inventory_of
from streams.queries.notice import Notice
from streams.queries.notice import notice as notice_of
from streams.queries.requirement import Required, Requirements
from streams.queries.requirement import requirement as requirement_of
from streams.queries.requirement import requirements as requirements_of
from streams.queries.role import Role
from streams.queries.ropa import Ropa, Transfers
from streams.queries.ropa import ropa as ropa_of
from streams.queries.ropa import transfers as transfers_of
from streams.queries.store import Store

T = TypeVar("T")


class PolicyQuestions:
    """An open store, its role and the moment that it was opened for, with the questions about policies."""

    def __init__(self, store: Store, role: Role | None, as_of: str = "") -> None:
        self._store, self._role, self._as_of = store, role, as_of

    def requirement(self, name: str, *, policy: str = "") -> Required:
        """How a requirement of a policy stands: what it concerns, where it is enforced, what breaks it.

        It is one of the newest policy that decided; or of `policy`, a path or the name of a shipped one.
        """
        draft = load(policy) if policy else None
        return self._recorded(
            f"requirement {name}",
            lambda store: requirement_of(store, name, draft),
            {"--policy": policy},
        )

    def requirements(self, *, policy: str = "") -> Requirements:
        """How each requirement of a policy stands, a row each; `policy` as in `requirement`."""
        draft = load(policy) if policy else None
        return self._recorded(
            "requirements", lambda store: requirements_of(store, draft), {"--policy": policy}
        )

    def inventory(self, *, policy: str = "", extend: Sequence[str] = ()) -> Inventory:
        """Everything that holds or moves data: what is declared against what was observed.

        It is held against the newest policy that decided, or against `policy`, as in `requirement`. `extend`
        are packages with kinds and operators of your own.
        """
        system = System.extended(extend)
        draft = load(policy, kinds=system.kinds) if policy else None
        return self._recorded(
            "inventory",
            lambda store: inventory_of(store, draft, system),
            {"--policy": policy, "--extend": tuple(extend)},
        )

    def ropa(self, *, policy: str = "", extend: Sequence[str] = ()) -> Ropa:
        """The records of processing activities: declared beside observed, as in `inventory`."""
        system = System.extended(extend)
        draft = load(policy, kinds=system.kinds) if policy else None
        return self._recorded(
            "report ropa",
            lambda store: ropa_of(store, draft, system),
            {"--policy": policy, "--extend": tuple(extend)},
        )

    def transfers(self, *, policy: str = "", extend: Sequence[str] = ()) -> Transfers:
        """Where data went, by region and recipient, as in `inventory`."""
        system = System.extended(extend)
        draft = load(policy, kinds=system.kinds) if policy else None
        return self._recorded(
            "report transfers",
            lambda store: transfers_of(store, draft, system),
            {"--policy": policy, "--extend": tuple(extend)},
        )

    def notice(self, *, policy: str = "") -> Notice:
        """The notice to those who wear the glasses, and what each policy changed in it."""
        draft = load(policy) if policy else None
        return self._recorded("report notice", lambda store: notice_of(store, draft), {"--policy": policy})

    def differing(self, new: str, old: str, *, rows_max: int = limits.NUMBER_MAX) -> OverStore:
        """Which decisions of the store the policy `new` makes otherwise; `old` is only named beside it.

        Each is the version of a policy in the store, a path, or the name of a shipped one. InputError also if
        the role is shown more than `rows_max` rows of decisions and edges.
        """
        after, before = self._policy(new), self._policy(old)
        return self._recorded(
            f"policy diff {old} {new} --over",
            lambda store: differing(store, before, after, rows_max=rows_max),
            {},
        )

    def last_policy(self) -> tuple[str, str] | None:
        """Version and text of the policy that came into the store last, as it stands there; None if none did.

        Nothing of it is hidden from any role, and no read is recorded.
        """
        rows = self._store.query("last_policy").rows
        return rows[0] if rows else None

    def _policy(self, name: str) -> Policy:
        """A policy of the store by version, or one by path or shipped name."""
        texts = self._store.policies
        return StoredPolicies(texts).version(name) if name in texts else load(name)

    def _recorded(self, question: str, answer: Callable[[Store], T], options: Mapping[str, object]) -> T:
        """Answer a question, and record the read before the answer is handed out."""
        answered = answer(self._store)
        self._store.record(asked_as(question, {**options, "--as-of": self._as_of}))
        return answered
