"""Who may take which role of a store: `roles.toml`, a table of names of the operating system's users by role.

    [roles]
    analyst = ["mara", "jon"]
    privacy-officer = ["mara"]
    "wearer:w1" = ["jon"]

It stands beside the store, or where SIGHTLINE_ROLES says; where both are, both must grant. Without either,
anybody who can read the store's files can take any role. It is believed because nobody but the owner
of the store and root can have written it: a signature would bind no closer, as they can read the whole store.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from streams import files, settings
from streams.errors import InputError
from streams.limits import ROLES_BYTES_MAX
from streams.queries.audit import who_asks
from streams.queries.role import Role

ROLES = "roles.toml"
_EXPECTED = 'one table [roles] with lists of users, such as analyst = ["mara"]'


def require(directory: Path, role: Role) -> None:
    """Refuse a role that the user who runs this is not granted.

    Raises
    ------
    InputError
        The role is not granted, or a file of roles is none, or others than the store's owner and root could
        have written it.
    """
    for path in _paths(directory):
        if who_asks() not in _granted(path, directory).get(str(role), ()):
            raise InputError(
                f"{path}: found no grant of the role {role} for the user {who_asks()}; who looks after the "
                "store grants roles there, and --role or SIGHTLINE_ROLE names another one"
            )


def described(directory: Path) -> str:
    """A line about who may take which role of the store, for a status.

    InputError as `require` raises it.
    """
    lines = []
    for path in _paths(directory):
        granted = _granted(path, directory)
        users = {user for some in granted.values() for user in some}
        lines.append(f"{path}: {len(granted)} roles are granted to {len(users)} users")
    return "; ".join(lines) or f"no {ROLES}: whoever can read the store's files takes any role"


def _paths(directory: Path) -> list[Path]:
    beside = directory / ROLES
    named = [] if settings.ROLES is None else [settings.ROLES]
    # A link that leads nowhere is not the same as no file.
    return [*([beside] if beside.exists() or beside.is_symlink() else []), *named]


def _granted(path: Path, directory: Path) -> Mapping[str, tuple[str, ...]]:
    text = files.read_guarded(path, owner=directory.stat().st_uid, bytes_max=ROLES_BYTES_MAX)
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
