"""What a key service is asked and answers: JSON in both directions, docs/topics.md."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.errors import InputError
from streams.limits import KEYS_ASKED_MAX, TOKEN_CHARACTERS_MAX
from streams.sealing.key_rows import State
from streams.sealing.sealed import KEY_BYTES, MARK_BYTES, STORE_ID_BYTES, KeyName

#: Where a key service is asked.
PATH = "/keys"
NAME_BYTES = STORE_ID_BYTES + 8 + MARK_BYTES
#: Names as policies have them.
_NAME = rf"[A-Za-z0-9_.:-]{{1,{TOKEN_CHARACTERS_MAX}}}"
_Name = Annotated[str, Meta(pattern=rf"\A{_NAME}\Z")]
_Hex = Annotated[str, Meta(pattern=rf"\A[0-9a-f]{{{2 * NAME_BYTES}}}\Z")]


class Asked(Struct, forbid_unknown_fields=True):
    """Who asks, for the purpose of which sink, and for which keys: bytes 1 to 24 of sealed values, as hex."""

    principal: _Name
    sink: _Name
    keys: Annotated[list[_Hex], Meta(max_length=KEYS_ASKED_MAX)]


class AnsweredKey(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of a key: `key` (hex) if it is present, when it was destroyed (ns) if it is not.

    `broken` is what the key store never named.
    """

    name: str
    state: State | Literal["broken"]
    key: Annotated[str, Meta(pattern=rf"\A([0-9a-f]{{{2 * KEY_BYTES}}})?\Z")] = ""
    destroyed_ns: int = 0


class Answered(Struct, forbid_unknown_fields=True):
    """The keys in the order in which they were asked for, and the policy that permitted it."""

    policy: str
    purpose: str
    keys: list[AnsweredKey]


class Refusal(Struct):
    """Why no key was handed out."""

    error: str


def check_principal(name: str) -> None:
    """InputError if nobody can ask by this name."""
    if re.fullmatch(_NAME, name) is None:
        raise InputError(
            f"principal: found no name, expected 1 to {TOKEN_CHARACTERS_MAX} letters, digits and - _ . :"
            " such as study-7, as keys_for of the policy has it"
        )


def name_text(name: KeyName) -> str:
    """A key's name as it is asked for."""
    return (name.store + name.number.to_bytes(8, "big") + name.mark).hex()


def name_of(text: str) -> KeyName:
    """Inverse of `name_text`."""
    raw = bytes.fromhex(text)
    return KeyName(
        raw[:STORE_ID_BYTES],
        int.from_bytes(raw[STORE_ID_BYTES:-MARK_BYTES], "big"),
        raw[-MARK_BYTES:],
    )
