"""Roles, and which rows of the store a role may see.

Reading lineage is a flow with a purpose, into the sink `ask:<role>`, and policies decide about it.

Every row is judged by its zone and label, under the policy that tagged it, whose text is in the store. Rows
without a zone, or with an unknown policy, are only shown to the roles that are named in this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, cast, get_args

from streams.errors import InputError
from streams.policy.audience import RoleName, permits
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.topology import EXPORT

#: Tables without zones that name events of any wearer, and the roles that may see them. Every role may see
#: the other tables without zones.
SHOWN_TO: Mapping[str, frozenset[RoleName]] = {
    "inputs": frozenset({"privacy-officer"}),
    "shadow": frozenset({"privacy-officer"}),
    **dict.fromkeys(
        ("segments", "spans", "indexes", "classes", "erasures", "expired"), frozenset({"privacy-officer"})
    ),
    "training_runs": frozenset({"privacy-officer", "analyst"}),
    "promotions": frozenset({"privacy-officer", "analyst"}),
    "training_checks": frozenset({"privacy-officer", "analyst"}),
    "training_assets": frozenset({"privacy-officer", "analyst"}),
}


class RowClass(NamedTuple):
    """The values that decide whether a role may see a row: policy version, zone, label and wearer.

    The label is hexadecimal, empty if there is none; the wearer is empty if the row is not about one person.
    """

    policy_version: str
    zone: str
    label: str = ""
    wearer: str = ""


class Classed(Protocol):
    """A row that has a class."""

    @property
    def row_class(self) -> RowClass:
        """Class of the row, which decides whether a role may see it."""


ClassedT = TypeVar("ClassedT", bound=Classed)


@dataclass(frozen=True, slots=True)
class Role:
    """A role that asks. For the role `wearer`, `wearer` is the pseudonym of the person who asks.

    `exporting`: the answer leaves the store as a file, into the sink `into`.
    """

    name: RoleName
    wearer: str = ""
    exporting: bool = False
    into: str = EXPORT

    @classmethod
    def of(cls, text: str) -> Role:
        """Parse the name of a role as given on the command line; InputError if it is none."""
        name, colon, wearer = text.partition(":")
        if name not in get_args(RoleName) or bool(colon and wearer) != (name == "wearer"):
            raise InputError(
                f"role: found {text!r}, expected analyst, privacy-officer or wearer:ID (such as wearer:w1)"
            )
        return cls(cast("RoleName", name), wearer)

    def __str__(self) -> str:
        return f"{self.name}:{self.wearer}" if self.wearer else self.name


@dataclass(eq=False)
class RoleFilter:
    """Decides what a role may see of one epoch; `policies` are the texts of all policy versions in it.

    `hidden` counts hidden rows by table or kind. `restricted` are the zones marked restricted from which rows
    were shown. `unknown` are policy versions without a text in the store; nobody may see their rows.
    """

    role: Role
    policies: Mapping[str, str]
    hidden: dict[str, int] = field(default_factory=dict)
    restricted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    _read: StoredPolicies = field(init=False)
    _permitted: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read = StoredPolicies(self.policies)

    def permits(self, version: str, zone: str, label: str) -> bool:
        """Whether the policy `version` lets data of `zone` and `label` (hexadecimal) flow to the role.

        `policy.audience` decides; results are cached.
        """
        key = (version, zone, label)
        if key not in self._permitted:
            self._permitted[key] = self._judged(*key)
        return self._permitted[key]

    def _judged(self, version: str, zone: str, label: str) -> bool:
        if version and self._policy(version) is None:
            return False
        exporting, into = self.role.exporting, self.role.into
        return permits(self._read, self.role.name, version, zone, label, exporting=exporting, into=into)

    def is_restricted(self, version: str, zone: str) -> bool:
        """Whether reads from a zone must be recorded in the audit log."""
        policy = self._policy(version)
        return policy is not None and zone in policy.zones_by_name and policy.zones_by_name[zone].restricted

    def owns(self, wearer: str, *, anybodys: bool) -> bool:
        """Whether data of `wearer` belongs to the wearer who asks; always true for other roles.

        `anybodys`: data that is not about one person counts as well.
        """
        return self.role.name != "wearer" or wearer == self.role.wearer or (anybodys and not wearer)

    def shows(self, of: RowClass, table: str) -> bool:
        """Whether the role may see rows of a class in a table."""
        return self.permits(of.policy_version, of.zone, of.label) and self.owns(
            of.wearer, anybodys=table != "rejected"
        )

    def sift(self, rows: Iterable[ClassedT], table: str, *, counted: bool = True) -> list[ClassedT]:
        """Return the rows that the role may see.

        `counted`: count the hidden ones. Not for questions about a single event, where a count would reveal
        that the event exists.
        """
        shown = []
        for row in rows:
            if self.shows(row.row_class, table):
                shown.append(row)
                self.note(row.row_class.policy_version, row.row_class.zone)
            elif counted:
                self.hide(table, 1)
        return shown

    def note(self, version: str, zone: str) -> None:
        """Note for the audit log that a row of a zone is shown."""
        if self.is_restricted(version, zone):
            self.restricted.add(zone)

    def hide(self, name: str, count: int) -> None:
        """Add to the count of hidden rows."""
        if count:
            self.hidden[name] = self.hidden.get(name, 0) + count

    @property
    def bands(self) -> dict[str, str]:
        """Hidden rows by table or kind, as bands: a role only learns the order of magnitude."""
        return {name: band(count) for name, count in sorted(self.hidden.items())}

    def _policy(self, version: str) -> Policy | None:
        """Policy by version; None if its text is missing, invalid, or does not match the version."""
        if not version or version in self.unknown:
            return None
        try:
            return self._read.version(version)
        except InputError:
            self.unknown.add(version)
            return None


def band(count: int) -> str:
    """Band of a number of hidden rows. The exact number could reveal single rows."""
    return "1-9" if count < 10 else "10-99" if count < 100 else "100+"
