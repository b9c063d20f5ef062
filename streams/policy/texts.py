"""Which texts a policy may contain: names that cannot be mistaken for others, and printable sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from streams.policy.source import Source
from streams.policy.vocabulary import LISTS

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
#: Fields whose texts are names.
_NAMES = frozenset({"name", "keys_for", *LISTS})
#: Conditions name streams and zones; with a letter that only looks right, one would silently match nothing.
_CONDITIONS = frozenset({"when", "require"})


def check_texts(source: Source) -> None:
    """InputError for a name with other than plain letters, and for a text with unprintable characters."""
    for table, field, text in _texts(source.fields, "", ""):
        if field in _NAMES:
            if not _NAME.fullmatch(text):
                raise source.wrong(
                    text, "is no name, expected ASCII letters, digits, '-', '_', '.' and ':' only"
                )
            continue
        plain = field in _CONDITIONS
        odd = next((sign for sign in text if not sign.isprintable() or (plain and not sign.isascii())), "")
        if odd:
            raise source.wrong(
                field,
                f"of {table or 'the policy'} holds {odd!a}, expected one line of"
                f" {'ASCII ' if plain else ''}text without control characters",
                (),
                table,
            )


def _texts(value: Any, table: str, field: str) -> Iterator[tuple[str, str, str]]:
    """Yield each text in a value with its table and its field; keys of tables are names."""
    if isinstance(value, str):
        yield table, field, value
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member, table, field)
    elif isinstance(value, dict):
        own = value.get("name", table)
        for key, content in value.items():
            yield table, "name", key
            # Who owns a policy has a name as people and companies have.
            named = field == "owner" and key == "name"
            yield from _texts(content, own if isinstance(own, str) else table, "owner" if named else key)
