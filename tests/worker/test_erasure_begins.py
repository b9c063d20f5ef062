"""An erasure begins only of somebody who is known, under the key store of the topics, and is stated once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from streams.consent.record import erasure_record, learn_consent, pairing_record, withdrawal_record
from streams.consent.view import Consents
from streams.errors import InputError
from streams.events.record import Outgoing, StoredRecord
from streams.kafka.publish import Placed
from streams.sealing.erasures import Done, Requested
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import KafkaSettings
from streams.topology import CONSENTS
from streams.worker import erasure
from streams.worker.erasure_models import Place
from tests import build

AT_NS = build.T0_NS - build.T0_NS % 1_000_000 + 999_999


class StoppedError(BaseException):
    """Stands for the end of the process after a step."""


class Topic:
    """`glasses.consents` without a broker; `written` is what the erasure publishes there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.consents, self.written = Consents(), list[Outgoing]()
        self.place = Place(KafkaSettings("localhost:1"), directory, build.CODEC, None)
        monkeypatch.setattr(erasure, "consents_of_topic", self._read)
        monkeypatch.setattr(erasure, "publish_now", self._publish)

    async def _read(self, _: object) -> Consents:
        return self.consents

    async def _publish(self, _: object, records: Sequence[Outgoing]) -> list[Placed]:
        self.written += records
        self.lies(*records)
        return [Placed(0, 0, AT_NS) for _ in records]

    def lies(self, *records: Outgoing) -> None:
        for record in records:
            offset = self.consents.offset
            learn_consent(self.consents, StoredRecord(offset, AT_NS // 1_000_000, record.key, record.value))

    def erase(self, keys: KeyStore, wearer: str, until: str = "stopped") -> None:
        """Erase, and end after the step `until`."""

        def after_step(of: Requested) -> None:
            if until in of.steps:
                raise StoppedError

        asyncio.run(erasure.erase_wearer(self.place, keys, wearer, after_step))


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Topic:
    return Topic(monkeypatch, tmp_path)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[KeyStore]:
    with contextlib.closing(KeyStore.made(tmp_path / "keys")) as made:
        yield made


def test_who_is_on_no_topic_and_has_no_key_is_not_erased(topic: Topic, keys: KeyStore) -> None:
    topic.lies(pairing_record("g1", "anna", bound=True), withdrawal_record("bert", 0))
    keys.ensure([KeyFor("carl", 30, 7)])
    with pytest.raises(InputError, match="wearer ana: found no pairing, word or key of that name"):
        topic.erase(keys, "ana")
    assert (topic.written, keys.erasures.all()) == ([], [])


@pytest.mark.parametrize("known_by", ["pairing", "pairing that ended", "word", "key", "interrupted"])
def test_who_is_known_in_any_way_is_erased(topic: Topic, keys: KeyStore, known_by: str) -> None:
    if known_by == "key":
        keys.ensure([KeyFor("anna", 30, 7)])
    elif known_by == "interrupted":
        keys.erasures.request("anna", keys.mark_of("anna"), 5)
    elif known_by == "word":
        topic.lies(withdrawal_record("anna", 0))
    else:
        topic.lies(pairing_record("g1", "anna", bound=True))
        if known_by != "pairing":
            topic.lies(pairing_record("g1", "anna", bound=False))
    with pytest.raises(StoppedError):
        topic.erase(keys, "anna")
    [asked] = keys.erasures.all()
    assert (asked.wearer, asked.next_step) == ("anna", "unreadable")
    # Who said nothing has nothing to withdraw.
    assert len(topic.written) == (2 if known_by == "word" else 1)
    assert {record.topic for record in topic.written} == {CONSENTS}


def test_under_another_key_store_than_the_topics_nothing_is_requested(
    topic: Topic, keys: KeyStore, tmp_path: Path
) -> None:
    with contextlib.closing(KeyStore.made(tmp_path / "other")) as other:
        topic.lies(pairing_record("g1", "anna", bound=True), erasure_record(other.mark_of("bert"), 4))
    with pytest.raises(InputError, match="because this one cannot tell whose it is; name it with --keys"):
        topic.erase(keys, "anna")
    assert (topic.written, keys.erasures.all()) == ([], [])


def test_what_is_on_the_topic_already_is_not_stated_twice(topic: Topic, keys: KeyStore) -> None:
    """It ended between the broker's answer and the key store: the topic has it, the key store does not."""
    topic.lies(withdrawal_record("anna", 0))
    asked = keys.erasures.request("anna", keys.mark_of("anna"), 5)
    topic.lies(erasure_record(asked.mark, asked.number))
    with pytest.raises(StoppedError):
        topic.erase(keys, "anna")
    assert topic.written == []
    assert keys.erasures.of(asked.number).steps["stopped"] == Done(AT_NS, 0), "the time is the broker's"
