"""A key store remembers how far an erasure is, forgets whose it was, and knows what a restored one lacks."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from streams.cli.rights.erase import state_of
from streams.consent.erased import ErasedTime, Scope
from streams.consent.record import erasure_record, learn_consent
from streams.consent.view import Consents
from streams.errors import DamagedError, InputError, UnavailableError
from streams.events.codec import codec_of
from streams.events.record import StoredRecord
from streams.events.shipped import SHIPPED
from streams.sealing.alone import alone
from streams.sealing.erasures import STEPS, Done, Requested
from streams.sealing.key_rows import KeyFor
from streams.sealing.key_store import KeyStore
from streams.settings.kafka import KafkaSettings
from streams.worker.erasure import _carried_out
from streams.worker.erasure_models import Place
from streams.worker.sealing import erase_again

DAY_NS = 86_400 * 10**9
#: A name that nothing else in the file can contain.
NAME = "wearer-q7x"
EARLY, LATE, OTHER = KeyFor(NAME, 30, 100), KeyFor(NAME, 30, 140), KeyFor("bert", 30, 100)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    made = KeyStore.made(tmp_path / "keys")
    made.ensure([EARLY, OTHER])
    made.digest_keys([NAME, "bert"])
    return made


def requested(store: KeyStore) -> Requested:
    return store.erasures.request(NAME, store.mark_of(NAME), 5)


def finished(store: KeyStore) -> Requested:
    of = requested(store)
    store.erase(NAME, 6)
    store.settle()
    for at, step in enumerate(STEPS[1:], 6):
        of = store.erasures.done(of.number, step, Done(at, at))
    return of


def bytes_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.iterdir()))


def test_a_request_is_written_down_first_and_the_same_one_goes_on(store: KeyStore) -> None:
    of = requested(store)
    assert (of.wearer, of.steps, of.next_step) == (NAME, {"requested": Done(5, 0)}, "stopped")
    store.erasures.done(of.number, "stopped", Done(7, 1))
    with contextlib.closing(KeyStore(store.path.parent)) as again:
        on = again.erasures.request(NAME, again.mark_of(NAME), 99)
        assert (on.number, on.next_step) == (of.number, "unreadable")
        assert on.steps["requested"] == Done(5, 0), "a request is made once"


def test_a_step_keeps_the_time_at_which_it_was_done_first(store: KeyStore) -> None:
    number = requested(store).number
    store.erasures.done(number, "stopped", Done(7, 1))
    assert store.erasures.done(number, "stopped", Done(9, 2)).steps["stopped"] == Done(7, 1)


def test_one_that_was_finished_before_a_step_was_known_is_not_gone_on_with(store: KeyStore) -> None:
    number = requested(store).number
    for step in ("stopped", "unreadable", "models", "store", "finished"):
        of = store.erasures.done(number, step, Done(7, 0))
    assert (of.next_step, "second" in of.steps) == (None, False)


def test_the_name_is_gone_from_the_files_when_an_erasure_is_finished(store: KeyStore) -> None:
    assert NAME.encode() in bytes_of(store.path.parent)
    of = finished(store)
    assert (of.wearer, of.next_step) == ("", None)
    assert NAME.encode() not in bytes_of(store.path.parent)
    assert [each.number for each in store.erasures.all()] == [of.number]
    assert of.mark == store.mark_of(NAME), "the mark still tells that it was hers"
    assert requested(store).number != of.number, "what comes later is another erasure"


def test_a_mark_is_the_same_after_keys_are_renewed_and_another_stores_is_another(
    store: KeyStore, tmp_path: Path
) -> None:
    before = store.mark_of(NAME)
    store.renew()
    with contextlib.closing(KeyStore(store.path.parent)) as again:
        assert again.mark_of(NAME) == before != again.mark_of("bert")
    assert KeyStore.made(tmp_path / "other").mark_of(NAME) != before


def test_a_key_store_of_before_erasures_gets_the_tables(store: KeyStore) -> None:
    store.close()
    with contextlib.closing(sqlite3.connect(store.path)) as file:
        for table in ("erasures", "erasure_steps"):
            file.execute(f"DROP TABLE {table}")
        file.commit()
    with contextlib.closing(KeyStore(store.path.parent)) as again:
        assert again.erasures.all() == []
        assert requested(again).next_step == "stopped"


def test_only_the_keys_up_to_a_day_go_if_a_day_is_named(store: KeyStore) -> None:
    late = store.ensure([LATE])[LATE]
    early = store.ensure([EARLY])[EARLY]
    assert store.count_of(NAME) == 3
    assert store.erase(NAME, 6, until_day=EARLY.day) == 2, "a key, and that of the digests"
    kept = store.find([early.name, late.name])
    assert (kept[early.name].state, kept[late.name].state) == ("erased", "present")
    assert store.count_of(NAME) == 1


def test_only_the_keys_from_a_day_on_go_and_the_digests_of_earlier_days_keep_theirs(store: KeyStore) -> None:
    late = store.ensure([LATE])[LATE]
    early = store.ensure([EARLY])[EARLY]
    assert store.count_of(NAME, from_day=LATE.day) == 1
    assert store.erase(NAME, 6, from_day=LATE.day) == 1
    kept = store.find([early.name, late.name])
    assert (kept[early.name].state, kept[late.name].state) == ("present", "erased")
    assert store.count_of(NAME) == 2, "a key, and that of the digests"


def test_a_request_keeps_its_scope_until_it_is_finished(store: KeyStore) -> None:
    mark = store.mark_of(NAME)
    asked = store.erasures.request(NAME, mark, 9, scope=Scope(5 * DAY_NS))
    assert store.erasures.request(NAME, mark, 10) == asked, "the one that was interrupted"
    assert asked.scope == Scope(5 * DAY_NS)
    store.erasures.adopt(77, mark, Done(11, 0), Done(12, 1))
    assert {each.number: each.scope for each in store.erasures.all()} == {
        asked.number: Scope(5 * DAY_NS),
        77: Scope(),
    }


def test_a_place_and_its_stays_are_kept_until_the_end_and_then_the_place_alone(store: KeyStore) -> None:
    span = ErasedTime(1_700_000_000_000_000_001, 1_700_000_000_000_000_009)
    scope = Scope(3, 0, "home", (span,), (4, 5))
    asked = store.erasures.request(NAME, store.mark_of(NAME), 9, scope=scope)
    assert asked.scope == store.erasures.of(asked.number).scope == scope
    assert store.erasures.request(NAME, store.mark_of(NAME), 10, scope=Scope()) == asked
    for step in STEPS[1:]:
        done = store.erasures.done(asked.number, step, Done(11, 0))
    assert (done.scope, done.wearer) == (Scope(3, 0, "home", (), (4, 5)), "")
    assert str(span.since_ns).encode() not in store.path.read_bytes()


def test_keys_of_some_numbers_go_and_nobody_elses(store: KeyStore) -> None:
    keys = store.ensure([EARLY, LATE, OTHER])
    names = [keys[each].name for each in (EARLY, LATE, OTHER)]
    assert store.erase_numbers(NAME, [names[0].number, names[2].number, 99], 7) == 1
    found = store.find(names)
    assert [found[name].state for name in names] == ["erased", "present", "present"]
    assert store.digest_key(NAME) is not None, "it makes the digests of what stays"


def test_a_restored_key_store_destroys_again_what_an_erasure_of_a_place_names(store: KeyStore) -> None:
    keys = store.ensure([EARLY, LATE])
    early, late = keys[EARLY].name, keys[LATE].name
    consents = Consents(store.mark_of)
    scope = Scope(0, 0, "home", (ErasedTime(5, 6),), (late.number,))
    record = erasure_record(store.mark_of(NAME), 41, scope)
    learn_consent(consents, StoredRecord(0, 150 * DAY_NS // 10**6, record.key, record.value))
    assert erase_again(store, consents, 8) == 1
    found = store.find([early, late])
    assert (found[early].state, found[late].state) == ("present", "erased")
    assert erase_again(store, consents, 9) == 0


def test_keys_are_due_on_the_day_on_which_retention_destroys_them(store: KeyStore) -> None:
    [(day, count)] = store.due_days()
    assert (day, count) == (EARLY.day + EARLY.days + 1, 2)
    assert store.due((day - 1) * DAY_NS) == 0
    assert store.due(day * DAY_NS) == 2


def consents_with(store: KeyStore, day: int, number: int) -> Consents:
    consents = Consents(store.mark_of)
    record = erasure_record(store.mark_of(NAME), number)
    learn_consent(consents, StoredRecord(0, day * DAY_NS // 1_000_000, record.key, record.value))
    return consents


def test_another_key_store_is_recognised_and_not_taken_for_one_that_finds_nobody(
    store: KeyStore, tmp_path: Path
) -> None:
    other = KeyStore.made(tmp_path / "other")
    consents = consents_with(store, EARLY.day, 3)
    with pytest.raises(
        InputError, match=f"found key store {other.id.hex()}, and an erasure .* {store.id.hex()}"
    ):
        erase_again(other, consents, 9)
    # What somebody invents beside them stops nothing.
    invented = consents_with(other, EARLY.day, 4).erasures()
    store.refuse_foreign([*consents.erasures(), *invented])
    store.refuse_foreign([])


def test_a_restored_key_store_destroys_again_what_the_topics_say_was_erased(
    store: KeyStore, tmp_path: Path
) -> None:
    key, other = store.ensure([EARLY])[EARLY], store.ensure([OTHER])[OTHER]
    shutil.copytree(store.path.parent, tmp_path / "backup")
    of = finished(store)
    consents = consents_with(store, EARLY.day, of.number)
    assert erase_again(store, consents, 9) == 0, "this one knows of it"

    with contextlib.closing(KeyStore(tmp_path / "backup")) as restored:
        later = restored.ensure([LATE])[LATE]
        assert restored.find([key.name])[key.name].state == "present"
        assert erase_again(restored, consents, 9) == 2
        states = restored.find([key.name, other.name, later.name])
        assert [states[each.name].state for each in (key, other, later)] == ["erased", "present", "present"]
        assert [path.name for path in (tmp_path / "backup").glob("key-enc*")] == ["key-encryption-key.2"]
        assert erase_again(restored, consents, 9) == 0
        # Nothing is noted that was done elsewhere, such as a store that was waited for.
        [adopted] = restored.erasures.all()
        stopped_ns = consents.erasures()[0].at_ns
        assert adopted.steps == {"stopped": Done(stopped_ns, 0), "unreadable": Done(9, 2)}
        assert (adopted.origin, adopted.next_step, adopted.wearer) == ("topic", None, "")
        assert state_of(adopted) == (
            "found on the topic; keys destroyed again here at 1970-01-01T00:00:00.000000Z; the rest was"
            " recorded elsewhere"
        )


def test_an_erasure_that_was_under_way_when_the_key_store_was_copied_goes_on(
    store: KeyStore, tmp_path: Path
) -> None:
    of = requested(store)
    shutil.copytree(store.path.parent, tmp_path / "backup")
    with contextlib.closing(KeyStore(tmp_path / "backup")) as restored:
        consents = consents_with(restored, EARLY.day, of.number)
        assert erase_again(restored, consents, 9) == 2
        on = requested(restored)
        assert (on.number, on.origin, on.next_step, on.wearer) == (of.number, "operator", "models", NAME)
        assert on.steps["unreadable"] == Done(9, 2)


def test_who_asked_for_an_erasure_is_on_record(store: KeyStore) -> None:
    by_device = store.erasures.request("bert", store.mark_of("bert"), 4, "device")
    assert (by_device.origin, by_device.steps["requested"]) == ("device", Done(4, 0))
    # An operator's words do not change who asked first.
    assert store.erasures.request("bert", store.mark_of("bert"), 9).origin == "device"
    assert requested(store).origin == "operator"


def test_what_another_process_finished_a_moment_ago_is_not_finished_again_without_a_receipt(
    store: KeyStore, tmp_path: Path
) -> None:
    place = Place(KafkaSettings("localhost:1"), tmp_path, codec_of(SHIPPED), None, tmp_path / "receipt.json")
    with pytest.raises(UnavailableError, match=r"finished by another process, .* where that one wrote them"):
        asyncio.run(_carried_out(place, store, Consents(), finished(store), lambda _: None))
    assert not (tmp_path / "receipt.json").exists()


HELD = """
import sys, time
from pathlib import Path
from streams.sealing.alone import alone
with alone(Path(sys.argv[1]), 7):
    print(flush=True)
    time.sleep(600)
"""


def test_one_process_at_a_time_carries_out_an_erasure(tmp_path: Path) -> None:
    held = subprocess.Popen([sys.executable, "-c", HELD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert held.stdout is not None
        held.stdout.readline()
        with (
            pytest.raises(
                UnavailableError, match=f"erasure 7: .* carried out by process {held.pid}, since 2.*Z, expect"
            ),
            alone(tmp_path, 7),
        ):
            pass
        with alone(tmp_path, 8):
            pass
    finally:
        held.kill()
        held.communicate()
    with alone(tmp_path, 7):
        assert [path.name for path in tmp_path.iterdir()] == ["erasure-7.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_digest_key_is_there_or_erased_and_anything_else_is_an_error(tmp_path: Path) -> None:
    store = KeyStore.made(tmp_path)
    made = store.digest_keys(["anna"])
    assert store.digest_key("anna") == made["anna"]
    with pytest.raises(DamagedError, match=r"older than the topics, or not theirs\. Nothing is erased"):
        store.digest_key("bert")
    number = store.erasures.request("anna", store.mark_of("anna"), 1).number
    store.erase("anna", 2)
    assert store.digest_key("anna") is None
    store.erasures.done(number, "finished", Done(3, 0))
    assert store.digest_key("anna") is None, "also when nothing but the mark names her"
    assert store.digest_keys_there(["anna", "bert"]) == {}, "and nothing is made"
