"""Pairings of devices and wearers, derived from journals.

Journals have no pairings, and pairings did not exist when journals of 0.1.0 were written.
"""

from __future__ import annotations

import re
from pathlib import Path

import orjson
from msgspec.structs import replace

from streams.consent.erased import Erasure
from streams.consent.view import Consents
from streams.consent.words import Pairing, Word
from streams.events import journal
from streams.events.batch import MESSAGEPACK
from streams.events.headers import CONTENT_TYPE
from streams.events.wire import packed_envelope

#: The two names as Sightline's encoder writes them, inside the text of a line.
_NAMED = re.compile(rb'\\"device_id\\":\\"([a-z0-9-]+)\\",\\"wearer_id\\":\\"([a-z0-9-]+)\\"')


def pairs(path: Path) -> list[tuple[str, str]]:
    """Distinct (device, wearer) of all batches in the journals at `path`, sorted."""
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
    """Add pairings to `consents`; return the offset after them."""
    for device, wearer in bound:
        consents.learn(consents.offset, wearer, Pairing(device, True, 0))
    return consents.offset


def on_device(
    wearer: str, word: Word | Pairing | Erasure, bound: list[tuple[str, str]]
) -> Word | Pairing | Erasure:
    """Add the device to a word of an older input that does not name it, if the wearer has only one device."""
    devices = [device for device, of in bound if of == wearer]
    if isinstance(word, Word) and not word.device and word.number and len(devices) == 1:
        return replace(word, device=devices[0], incarnation=1)
    return word


def _read(line: bytes) -> set[tuple[str, str]]:
    """Names in a value that is packed or was written by another encoder; empty if it is malformed."""
    try:
        fields = orjson.loads(line)
        packed = fields["headers"].get(CONTENT_TYPE, "").encode() == MESSAGEPACK
        value = (packed_envelope if packed else orjson.loads)(journal.value_of(fields))
        return {(str(value["device_id"]), str(value["wearer_id"]))}
    except (orjson.JSONDecodeError, ValueError, KeyError, TypeError, AttributeError):
        return set()
