"""Who asks, and what of the store the policies let that role see.

Reading lineage is a flow with a purpose, into the sink `ask:<role>`.

Every row is judged by the policy that tagged it, as the store keeps it: by its zone and label. What has no
zone, or a policy that the store does not hold, is shown to nobody whom this module does not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, cast, get_args

from streams.errors import InputError
from streams.policy.audience import RoleName, permits
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies

#: Tables without zones of their own that name anybody's events, and whoever may see them; the other tables
#: without zones are for all.
SHOWN_TO: Mapping[str, frozenset[RoleName]] = {
    "inputs": frozenset({"privacy-officer"}),
    "shadow": frozenset({"privacy-officer"}),
    **dict.fromkeys(("segments", "spans", "indexes", "classes"), frozenset({"privacy-officer"})),
    "training_runs": frozenset({"privacy-officer", "analyst"}),
}


class RowClass(NamedTuple):
    """By what a role is shown a row or not: the policy that tagged it, its zone, label and wearer.

    The label is hexadecimal, and empty of what has none; the wearer is empty of what is about no one person.
    """

    policy_version: str
    zone: str
    label: str = ""
    wearer: str = ""


class Classed(Protocol):
    """A row that knows its class."""

    @property
    def row_class(self) -> RowClass:
        """By what a role is shown it or not."""


ClassedT = TypeVar("ClassedT", bound=Classed)


@dataclass(frozen=True, slots=True)
class Role:
    """A role; for a wearer whose data it is about (a pseudonym).

    It also says whether the answer leaves the store as a file.
    """

    name: RoleName
    wearer: str = ""
    exporting: bool = False

    @classmethod
    def of(cls, text: str) -> Role:
        """Role by its name on the command line; InputError when it is none."""
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
    """What a role sees of one epoch; `policies` are the texts of all policy versions in it.

    `hidden` counts what was kept back, by what it is; `restricted` are the zones marked restricted of what
    was shown; `unknown` are the versions that the store has no text of: what they decided is shown to nobody.
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
        """Whether the policy `version` lets what is of `zone` and `label` (hexadecimal) flow to the role.

        As `policy.audience` judges it.
        """
        key = (version, zone, label)
        if key not in self._permitted:
            self._permitted[key] = self._judged(*key)
        return self._permitted[key]

    def _judged(self, version: str, zone: str, label: str) -> bool:
        if version and self._policy(version) is None:
            return False
        return permits(self._read, self.role.name, version, zone, label, exporting=self.role.exporting)

    def is_restricted(self, version: str, zone: str) -> bool:
        """Whether reads of a zone are recorded."""
        policy = self._policy(version)
        return policy is not None and zone in policy.zones_by_name and policy.zones_by_name[zone].restricted

    def owns(self, wearer: str, *, anybodys: bool) -> bool:
        """Whether it is about the asking wearer, if a wearer asks.

        `anybodys`: what is about no one person counts as well.
        """
        return self.role.name != "wearer" or wearer == self.role.wearer or (anybodys and not wearer)

    def shows(self, of: RowClass, table: str) -> bool:
        """Whether rows of a class are shown in a table."""
        return self.permits(of.policy_version, of.zone, of.label) and self.owns(
            of.wearer, anybodys=table != "rejected"
        )

    def sift(self, rows: Iterable[ClassedT], table: str, *, counted: bool = True) -> list[ClassedT]:
        """Return the rows that are shown.

        The others are `counted`, unless they are about the one thing that was asked for: a count would say
        that it is there.
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
        """Note that something of a zone is shown."""
        if self.is_restricted(version, zone):
            self.restricted.add(zone)

    def hide(self, name: str, count: int) -> None:
        """Count what is kept back."""
        if count:
            self.hidden[name] = self.hidden.get(name, 0) + count

    @property
    def bands(self) -> dict[str, str]:
        """What was kept back, as far as a role is told: only of what order it is."""
        return {name: band(count) for name, count in sorted(self.hidden.items())}

    def _policy(self, version: str) -> Policy | None:
        """Policy by version; None for one that is not known, or whose text is not its own or no policy."""
        if not version or version in self.unknown:
            return None
        try:
            return self._read.version(version)
        except InputError:
            self.unknown.add(version)
            return None


def band(count: int) -> str:
    """A number of hidden things as a role is told it: the exact one would tell of single things."""
    return "1-9" if count < 10 else "10-99" if count < 100 else "100+"
