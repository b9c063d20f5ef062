"""Which roles may see a row of the store, according to the policies.

Reading lineage is a flow with a purpose, into the sink `ask:<role>`; data that leaves the store as a file
also flows into `export`. A row is judged by its zone and label, under the policy that tagged it. A row
without a zone, or whose policy is not in the store, is shown only to the roles that this module names.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Literal

from streams.errors import InputError
from streams.limits import LABEL_BYTES
from streams.policy import label as lattice
from streams.policy.recheck import StoredPolicies
from streams.topology import EXPORT, TO_WEARER

RoleName = Literal["analyst", "privacy-officer", "wearer"]
#: The bits of an audience: roles, without and with an export to a file. The bit of `wearer` permits wearers
#: to see their own data only; whose data it is, is stored separately.
AUDIENCES: tuple[tuple[RoleName, bool], ...] = (
    ("analyst", False),
    ("privacy-officer", False),
    ("wearer", False),
    ("analyst", True),
    ("privacy-officer", True),
    ("wearer", True),
)
_LABEL = re.compile(f"[0-9a-f]{{{2 * LABEL_BYTES}}}")


def permits(
    policies: StoredPolicies,
    role: RoleName,
    version: str,
    zone: str,
    label: str,
    *,
    exporting: bool = False,
    into: str = EXPORT,
) -> bool:
    """Whether the policy `version` permits data of `zone` and `label` (hexadecimal) to flow to a role.

    `into` is the sink that it leaves into if `exporting`: EXPORT, or TO_WEARER where it is handed to the
    person whom it is about.

    Data without a label is judged by the join of all labels of the zone. Data that was refused before it got
    a zone is shown to the privacy officer, who is responsible for refusals, and to its wearer. Data that was
    refused under no policy (`version` is empty), because it was unreadable, is shown to the privacy officer.

    InputError if `policies` has no text for the version, or one that does not match it or is no policy.
    """
    away = exporting and into != TO_WEARER
    if not version:
        return role == "privacy-officer" and not away
    policy = policies.version(version)
    if zone not in policy.zones_by_name:
        return role != "analyst" and not away
    if label and not _LABEL.fullmatch(label):
        return False
    packed = bytes.fromhex(label) or reduce(
        lambda left, right: lattice.join([left, right]),
        (packed for (_, owner), packed in policy.labels.items() if owner == zone),
    )
    sinks = (f"ask:{role}", *((into,) if exporting else ()))
    return all(policy.flow(zone, packed, sink).verdict == "allow" for sink in sinks)


def audience(policies: StoredPolicies, version: str, zone: str, label: str) -> int:
    """Who may see data of this class: a mask with a bit for each of `AUDIENCES`, the first the lowest.

    If the policy cannot be read it is 0, so nobody sees the data.
    """
    try:
        return sum(
            permits(policies, role, version, zone, label, exporting=exporting) << bit
            for bit, (role, exporting) in enumerate(AUDIENCES)
        )
    except InputError:
        return 0
