"""The key store that a worker takes is that of the topics, and nothing else is taken for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.errors import DamagedError, InputError, UnavailableError
from streams.events.record import Outgoing, Seal, StoredRecord
from streams.kafka.publish import publish_now
from streams.kafka.topics import declare
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.settings.kafka import Broker
from streams.topology import EXAMPLES
from streams.worker.sealing import examples_of, key_store_of
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES

POLICY = build.policy()


def publish(
    broker: Broker,
    store: KeyStore | None,
    records: Sequence[StoredRecord] = GOOD_EXAMPLES,
    wearer: str = "w1",
) -> None:
    """Put examples on the topic, sealed unless there is no key store."""
    written = [
        Outgoing(
            EXAMPLES,
            0,
            record.key or b"",
            record.value,
            list(record.headers),
            record.timestamp,
            Seal(wearer, 30) if store is not None else None,
        )
        for record in records
    ]

    async def put() -> None:
        await declare(broker)
        await publish_now(broker, written if store is None else await Keys(store).sealed(written))

    asyncio.run(put())


def taken(broker: Broker, directory: Path) -> KeyStore:
    return asyncio.run(key_store_of(broker, directory))


def test_a_key_store_is_made_where_nothing_is_sealed_and_refused_where_it_is_another(
    own_broker: str, tmp_path: Path
) -> None:
    asyncio.run(declare(own_broker))
    publish(own_broker, None, GOOD_EXAMPLES[:3])
    assert asyncio.run(examples_of(own_broker, tmp_path / "none", POLICY, "a test")) != []
    store = taken(own_broker, tmp_path / "keys")
    assert dict(store.counts()) == {}
    publish(own_broker, store)
    assert taken(own_broker, tmp_path / "keys").id == store.id
    # None where there should be one: it may be on another disk, and must not be made.
    with pytest.raises(InputError, match="found no key store, expected the one under whose keys"):
        taken(own_broker, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    KeyStore.made(tmp_path / "other")
    for other in (taken, lambda broker, path: asyncio.run(examples_of(broker, path, POLICY, "a test"))):
        with pytest.raises(InputError, match=f"expected {store.id.hex()}, under whose keys"):
            other(own_broker, tmp_path / "other")
    # What somebody invents behind them changes nothing of that.
    publish(own_broker, KeyStore.made(tmp_path / "invented"), GOOD_EXAMPLES[:3])
    assert taken(own_broker, tmp_path / "keys").id == store.id
    shutil.copytree(tmp_path / "keys", tmp_path / "older")
    publish(own_broker, store, GOOD_EXAMPLES[:1], wearer="w2")
    with pytest.raises(DamagedError, match="older than the topics"):
        taken(own_broker, tmp_path / "older")
    opened = asyncio.run(examples_of(own_broker, tmp_path / "keys", POLICY, "a test"))
    assert [record.value for record in opened] == [
        *(record.value for record in GOOD_EXAMPLES[:3]),
        *(record.value for record in GOOD_EXAMPLES),
        GOOD_EXAMPLES[0].value,
    ]
    assert [(release.principal, release.verdict) for release in store.releases()] == [("a test", "allow")]
    # What was destroyed is no example any more.
    store.erase("w1", 1)
    store.settle()
    assert len(asyncio.run(examples_of(own_broker, tmp_path / "keys", POLICY, "a test"))) == 4
    for path in (tmp_path / "keys").glob("key-encryption-key.*"):
        path.unlink()
    with pytest.raises(UnavailableError, match="found no key-encryption key"):
        taken(own_broker, tmp_path / "keys").ensure([])
