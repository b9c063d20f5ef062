"""Without the key store nothing tells whose an erasure is, so `sightline snapshots` does not go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.cli.snapshots_erasing import StatedErasures
from streams.consent.record import erasure_record, withdrawal_record
from streams.errors import InputError
from streams.events.record import Outgoing, StoredRecord
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import KafkaSettings


def _record(offset: int, made: Outgoing) -> StoredRecord:
    return StoredRecord(offset, 1_700_000_000_000, made.key, made.value)


def test_erasures_need_the_key_store_and_other_words_do_not(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    stated = StatedErasures(KafkaSettings("localhost:1"), keys)
    stated._learn(_record(0, withdrawal_record("w1", 0)))
    assert asyncio.run(stated.taken()) is None
    store = KeyStore.made(tmp_path / "elsewhere")
    stated._learn(_record(1, erasure_record(store.mark_of("w2"), 1)))
    with pytest.raises(InputError, match=r"1 erasures.*no key store.*Nothing was taken in.*--keys"):
        asyncio.run(stated.taken())
    store.path.parent.rename(keys)
    store.close()
    store = KeyStore(keys)
    stated._learn(_record(2, erasure_record(store.mark_of("w1"), 2)))
    answer = asyncio.run(stated.taken())
    assert answer is not None
    erasures, mark = answer
    assert [each.number for each in erasures] == [1, 2]
    assert mark("w1") == erasures[1].mark
    assert erasures[1].at_ns == 1_700_000_000_000_999_999
    assert asyncio.run(stated.taken()) is None
    store.close()


def test_erasures_of_another_key_store_are_refused_and_noise_among_its_own_is_not(tmp_path: Path) -> None:
    store = KeyStore.made(tmp_path / "keys")
    stated = StatedErasures(KafkaSettings("localhost:1"), tmp_path / "keys")
    stated._learn(_record(0, erasure_record("ab" * 24, 3)))
    with pytest.raises(InputError, match="made with abababababababab, expected that one"):
        asyncio.run(stated.taken())
    stated._learn(_record(1, erasure_record(store.mark_of("w1"), 2)))
    answer = asyncio.run(stated.taken())
    assert answer is not None
    assert [each.number for each in answer[0]] == [3, 2]
    store.close()
