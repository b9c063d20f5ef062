"""The secret by which a program proves to a key service which principal it is: a file that it alone reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from streams import files
from streams.errors import InputError
from streams.limits import SECRET_BYTES_MAX

TOKEN_CHARACTERS_MIN = 32


def read_token(path: Path) -> str:
    """The token in a file of mode 0600; InputError, which quotes nothing of it, if it is none."""
    content = files.read_guarded(path, owner=os.geteuid(), bytes_max=SECRET_BYTES_MAX, private=True)
    token = content.decode(errors="replace").strip()
    if len(token) < TOKEN_CHARACTERS_MIN or not token.isascii() or not token.isalnum():
        raise InputError(
            f"{path}: found no token, expected one of at least {TOKEN_CHARACTERS_MIN} letters and digits on a"
            " line of its own; where no file is, `sightline keys serve` makes one"
        )
    return token


def token_in(path: Path) -> str:
    """The token in a file, which is made if absent, for its owner alone; errors are those of `read_token`."""
    if not path.exists():
        with files.added(path) as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
    return read_token(path)
