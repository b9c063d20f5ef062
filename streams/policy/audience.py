"""Which roles the policies show a row of the store to.

Reading lineage is a flow with a purpose, into the sink `ask:<role>`; what leaves the store as a file also
flows into `export`. A thing is judged by the policy that tagged it: by its zone and label. What has no zone,
or a policy that the store does not hold, is shown to nobody whom this module does not name.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Literal

from streams.errors import InputError
from streams.limits import LABEL_BYTES
from streams.policy import label as lattice
from streams.policy.recheck import StoredPolicies
from streams.topology import EXPORT

RoleName = Literal["analyst", "privacy-officer", "wearer"]
#: The bits of an audience: roles, without and with a file that leaves the store. A wearer's bit says that she
#: is shown what is hers; whose it is stands beside it.
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
    policies: StoredPolicies, role: RoleName, version: str, zone: str, label: str, *, exporting: bool = False
) -> bool:
    """Whether the policy `version` lets what is of `zone` and `label` (hexadecimal) flow to a role.

    Without a label it is judged by the strictest that the zone gives. What was refused before it came into a
    zone is shown to the privacy officer, who answers for refusals, and to the wearer whose data it is.

    InputError when `policies` has no text of that version, or one that is not its own or no policy: then only
    what nobody could read, which was refused under no policy at all (`version` empty), is for the privacy
    officer.
    """
    if not version:
        return role == "privacy-officer" and not exporting
    policy = policies.version(version)
    if zone not in policy.zones_by_name:
        return role != "analyst" and not exporting
    if label and not _LABEL.fullmatch(label):
        return False
    packed = bytes.fromhex(label) or reduce(
        lambda left, right: lattice.join([left, right]),
        (packed for (_, owner), packed in policy.labels.items() if owner == zone),
    )
    sinks = (f"ask:{role}", *((EXPORT,) if exporting else ()))
    return all(policy.flow(zone, packed, sink).verdict == "allow" for sink in sinks)


def audience(policies: StoredPolicies, version: str, zone: str, label: str) -> int:
    """Who is shown what is of this class: a bit for each of `AUDIENCES`, the first the lowest.

    Of a policy that cannot be read nothing is shown to anybody: 0.
    """
    try:
        return sum(
            permits(policies, role, version, zone, label, exporting=exporting) << bit
            for bit, (role, exporting) in enumerate(AUDIENCES)
        )
    except InputError:
        return 0
