"""Whether a replay knows the kinds of event that it meets: without one, it would make another lineage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from streams.errors import InputError
from streams.events import journal
from streams.events.kinds import Kinds

#: The kind in a line's headers, as our own encoder writes them; in a value its quotes would be escaped.
_TYPE = re.compile(rb'"ce_type":"glasses\.([a-z][a-z0-9_]{0,31})\.v1"')


def journal_kinds(path: Path) -> frozenset[str]:
    """Kinds that the headers of the batches in the journals below `path` name."""
    kinds: set[bytes] = set()
    for file in journal.files(path):
        with file.open("rb") as lines:
            kinds |= {named[1] for named in map(_TYPE.search, lines) if named is not None}
    return frozenset(kind.decode() for kind in kinds)


def check_known(origin: Path, met: Iterable[str], kinds: Kinds) -> None:
    """InputError where `origin` holds kinds that are none of `kinds`; it names them and what to do."""
    unknown = sorted(set(met) - kinds.keys())
    if unknown:
        raise InputError(
            f"{origin}: found events of kinds that are not known here ({', '.join(unknown)}), expected "
            f"{', '.join(kinds)}; name the package that the live pipeline had them from: --extend PACKAGE"
        )
