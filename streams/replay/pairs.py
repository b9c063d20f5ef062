"""The devices and wearers of journals, as an operator would have bound them.

A journal does not hold who was bound to whom, and those of 0.1.0 were written before anybody was.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson
from msgspec.structs import replace

from streams.consent.view import Consents
from streams.consent.words import Pairing, Word
from streams.events import journal
from streams.events.batch import MESSAGEPACK
from streams.events.headers import CONTENT_TYPE
from streams.events.wire import packed_envelope

#: The two names as our own encoder writes them, inside the text of a line.
_NAMED = re.compile(rb'\\"device_id\\":\\"([a-z0-9-]+)\\",\\"wearer_id\\":\\"([a-z0-9-]+)\\"')


def pairs(path: Path) -> list[tuple[str, str]]:
    """(device, wearer) of every batch in the journals below `path`, each once, in order."""
    named_pairs: set[tuple[str, str]] = set()
    for file in journal.files(path):
        with file.open("rb") as lines:
            for line in lines:
                named = _NAMED.search(line)
                if named is not None:
                    named_pairs.add((named[1].decode(), named[2].decode()))
                elif line.startswith(b'{"line":"sent"') and line.endswith(b"\n"):
                    named_pairs |= _read(line)
    return sorted(named_pairs)


def bind(consents: Consents, bound: list[tuple[str, str]]) -> int:
    """Bind devices to wearers; return the offset behind."""
    for device, wearer in bound:
        consents.learn(consents.offset, wearer, Pairing(device, True, 0))
    return consents.offset


def on_device(wearer: str, word: Word | Pairing, bound: list[tuple[str, str]]) -> Word | Pairing:
    """What was said with its device, where older inputs do not name it and the wearer has only one."""
    devices = [device for device, of in bound if of == wearer]
    if isinstance(word, Word) and not word.device and word.number and len(devices) == 1:
        return replace(word, device=devices[0], incarnation=1)
    return word


def _read(line: bytes) -> set[tuple[str, str]]:
    """Names of a value that is packed, or that another encoder wrote; nothing of one that is none."""
    try:
        fields = orjson.loads(line)
        packed = fields["headers"].get(CONTENT_TYPE, "").encode() == MESSAGEPACK
        value = (packed_envelope if packed else orjson.loads)(journal.value_of(fields))
        return {(str(value["device_id"]), str(value["wearer_id"]))}
    except (orjson.JSONDecodeError, ValueError, KeyError, TypeError, AttributeError):
        return set()
