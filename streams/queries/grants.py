"""Who may take which role of a store: `roles.toml`, a table of names of the operating system's users by role.

    [roles]
    analyst = ["mara", "jon"]
    privacy-officer = ["mara"]
    "wearer:w1" = ["jon"]

The file lies beside the store, or where SIGHTLINE_ROLES points; if there are two, both must grant the role.
Without any, everyone who can read the store's files may take any role. The file is trusted if only the owner
of the store or root can have written it. A signature would add nothing, because these two can read the whole
store anyway.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from streams import files, settings
from streams.errors import InputError, UnavailableError
from streams.limits import ROLES_BYTES_MAX
from streams.queries.audit import who_asks
from streams.queries.role import Role

ROLES = "roles.toml"
_EXPECTED = 'one table [roles] with lists of users, such as analyst = ["mara"]'


def require(directory: Path, role: Role) -> None:
    """Refuse a role that the current user is not granted.

    Raises
    ------
    InputError
        The role is not granted, a file of roles is malformed, or a user other than the store's owner and root
        could have written it.
    UnavailableError
        There is no directory of the store any more.
    """
    for path in _paths(directory):
        if who_asks() not in _granted(path, directory).get(str(role), ()):
            raise InputError(
                f"{path}: found no grant of the role {role} for the user {who_asks()}; who looks after the "
                "store grants roles there, and --role or SIGHTLINE_ROLE names another one"
            )


def described(directory: Path) -> str:
    """Line for a status about who may take which role of the store; InputError as in `require`."""
    lines = []
    for path in _paths(directory):
        granted = _granted(path, directory)
        users = {user for some in granted.values() for user in some}
        lines.append(f"{path}: {len(granted)} roles are granted to {len(users)} users")
    return "; ".join(lines) or f"no {ROLES}: whoever can read the store's files takes any role"


def _paths(directory: Path) -> list[Path]:
    beside = directory / ROLES
    named = [] if settings.ROLES is None else [settings.ROLES]
    # A broken link must be an error, not count as a missing file.
    return [*([beside] if beside.exists() or beside.is_symlink() else []), *named]


def _owner(directory: Path) -> int:
    try:
        return directory.stat().st_uid
    except OSError as error:
        raise UnavailableError(f"{directory}: there is no store ({error.strerror})") from None


def _granted(path: Path, directory: Path) -> Mapping[str, tuple[str, ...]]:
    text = files.read_guarded(path, owner=_owner(directory), bytes_max=ROLES_BYTES_MAX)
    try:
        tables = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InputError(f"{path}: found no TOML, expected {_EXPECTED}") from None
    roles = tables.get("roles")
    if set(tables) != {"roles"} or not isinstance(roles, dict):
        raise InputError(f"{path}: found other tables, expected {_EXPECTED}")
    for name, users in roles.items():
        Role.of(name)
        if not isinstance(users, list) or not all(isinstance(user, str) and user for user in users):
            raise InputError(f"{path}: found something else under {name}, expected {_EXPECTED}")
    return {name: tuple(users) for name, users in roles.items()}
