"""The key store: what is destroyed stays destroyed, what is lost is never taken for destroyed."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.errors import DamagedError, InputError, UnavailableError
from streams.sealing.key_rows import KeyFor, Release, mark
from streams.sealing.key_store import KeyStore, day_of
from streams.sealing.sealed import KeyName
from streams.sealing.wrapping import FileWrapping, Named

DAY_NS = 86_400 * 10**9
ANNA, BERT = KeyFor("anna", 30, 100), KeyFor("bert", 30, 100)


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.made(tmp_path / "keys")


def on_disk(directory: Path) -> bytes:
    """Everything in the files of a directory."""
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_a_key_is_made_once_and_found_by_its_name(store: KeyStore) -> None:
    keys = store.ensure([ANNA, BERT, ANNA])
    assert store.ensure([BERT, ANNA]) == keys
    assert len({key.key for key in keys.values()}) == 2
    for key in keys.values():
        assert store.find([key.name]) == {key.name: ("present", key.key, 0)}


def test_wearer_retention_and_day_each_have_keys_of_their_own(store: KeyStore) -> None:
    wanted = [KeyFor(wearer, days, day) for wearer in ("a", "b") for days in (1, 30) for day in (7, 8)]
    assert len({key.key for key in store.ensure(wanted).values()}) == len(wanted)


def test_another_process_finds_the_same_keys(store: KeyStore) -> None:
    keys = store.ensure([ANNA])
    program = (
        "import sys; from pathlib import Path; from streams.sealing.key_rows import KeyFor\n"
        "from streams.sealing.key_store import KeyStore\n"
        "print(KeyStore(Path(sys.argv[1])).ensure([KeyFor('anna', 30, 100)])"
        "[KeyFor('anna', 30, 100)].key.hex())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(store.path.parent)], check=True, capture_output=True, text=True
    )
    assert other.stdout.strip() == keys[ANNA].key.hex()


def test_what_retention_destroys_is_the_days_that_are_over(store: KeyStore) -> None:
    wanted = [KeyFor("anna", days, day) for days in (1, 30) for day in (100, 101)]
    keys = store.ensure(wanted)
    # The last value of day 100 that may be kept for a day expires when day 101 ends.
    assert store.expire(102 * DAY_NS - 1) == 0
    assert store.due(102 * DAY_NS) == 1
    assert store.expire(102 * DAY_NS) == 1
    assert store.expire(102 * DAY_NS) == 0
    states = {each: store.find([key.name])[key.name] for each, key in keys.items()}
    assert states[KeyFor("anna", 1, 100)] == ("expired", b"", 102 * DAY_NS)
    assert [state.state for state in states.values()].count("present") == 3
    assert store.expire(131 * DAY_NS) == 2
    assert dict(store.counts()) == {"expired": 3, "present": 1}


def test_an_erasure_destroys_the_keys_of_one_wearer_for_ever(store: KeyStore) -> None:
    keys = store.ensure([ANNA, KeyFor("anna", 1, 99), BERT])
    digests = store.digest_keys(["anna", "bert"])
    assert store.erase("anna", 5) == 3
    for each in (ANNA, KeyFor("anna", 1, 99)):
        name = keys[each].name
        assert store.find([name]) == {name: ("erased", b"", 5)}
    assert store.find([keys[BERT].name])[keys[BERT].name].key == keys[BERT].key
    # Who consents again gets keys that open nothing of before.
    again = store.ensure([ANNA])[ANNA]
    assert again.key != keys[ANNA].key
    assert again.name != keys[ANNA].name
    assert store.digest_keys(["anna"])["anna"] != digests["anna"]
    assert store.digest_keys(["bert"])["bert"] == digests["bert"]
    assert store.erase("anna", 6) == 2
    assert store.erase("anna", 7) == 0


def test_a_destroyed_key_and_its_wearer_are_in_no_file_once_keys_are_renewed(store: KeyStore) -> None:
    wanted = [KeyFor(f"wearer-{number}", 30, 100) for number in range(200)]
    store.ensure(wanted)
    store.digest_keys([each.wearer for each in wanted])
    with sqlite3.connect(store.path) as file:
        [(wrapped,)] = file.execute("SELECT wrapped FROM keys WHERE wearer = 'wearer-7'")
    file.close()
    before = {path.name: path.read_bytes() for path in store.path.parent.glob("key-encryption-key.*")}
    assert wrapped in on_disk(store.path.parent)
    store.erase("wearer-7", 5)
    assert store.settle() == 2 * 199 + 1, "it was owed since the erasure"
    left = on_disk(store.path.parent)
    assert wrapped not in left
    assert re.search(rb"wearer-7(?![0-9])", left) is None
    assert re.search(rb"wearer-8(?![0-9])", left) is not None
    assert not any(key in left for key in before.values())
    assert [path.name for path in store.path.parent.glob("key-encryption-key.*")] == ["key-encryption-key.2"]


def test_renewing_leaves_every_other_key_as_it_was(store: KeyStore) -> None:
    wanted = [KeyFor(f"wearer-{number}", 30, 100) for number in range(300)]
    keys, digests = store.ensure(wanted), store.digest_keys(["wearer-1"])
    for _ in range(3):
        assert store.renew() == 302
    assert store.ensure(wanted) == keys
    assert store.digest_keys(["wearer-1"]) == digests
    assert KeyStore(store.path.parent).ensure(wanted) == keys


@pytest.mark.parametrize("step", ["begun", "wrapped", "committed"])
def test_renewing_that_is_killed_at_any_step_loses_no_key(tmp_path: Path, step: str) -> None:
    class Dies(FileWrapping):
        """Fails after one of the steps of `renew`, as a killed process does."""

        armed = ""

        def begin(self, generation: int) -> None:
            super().begin(generation)
            if self.armed == "begun":
                raise KeyboardInterrupt

        def wrap(self, generation: int, keys: Sequence[Named]) -> list[bytes]:
            wrapped = super().wrap(generation, keys)
            if self.armed == "wrapped":
                raise KeyboardInterrupt
            return wrapped

        def end(self, generation: int) -> None:
            if self.armed == "committed":
                raise KeyboardInterrupt
            super().end(generation)

    directory = tmp_path / "keys"
    wrapping = Dies(directory / "key-encryption-key")
    store = KeyStore.made(directory, wrapping)
    keys = store.ensure([ANNA, BERT])
    wrapping.armed = step
    with pytest.raises(KeyboardInterrupt):
        store.renew()
    store.close()
    again = KeyStore(directory)
    assert again.ensure([ANNA, BERT]) == keys
    again.settle()
    assert again.ensure([ANNA, BERT]) == keys
    assert again.renew() == 3
    assert len([*directory.glob("key-encryption-key.*")]) == 1
    assert again.ensure([ANNA, BERT]) == keys


def test_a_key_that_was_never_in_the_store_is_no_erased_one(store: KeyStore) -> None:
    store.ensure([ANNA])
    with pytest.raises(DamagedError, match=r"key 2, which was never in this key store.*Nothing is erased"):
        store.find([KeyName(store.id, 2, mark(store._marks(), 2))])


def test_a_restored_copy_does_not_take_what_came_later_for_erased(store: KeyStore, tmp_path: Path) -> None:
    store.ensure([ANNA])
    shutil.copytree(store.path.parent, tmp_path / "backup")
    later = store.ensure([BERT])[BERT]
    with pytest.raises(DamagedError, match="older than the topics"):
        KeyStore(tmp_path / "backup").find([later.name])


def test_a_restored_copy_brings_no_key_back_after_an_erasure(store: KeyStore, tmp_path: Path) -> None:
    key = store.ensure([ANNA, BERT])[ANNA]
    backup = tmp_path / "backup"
    shutil.copytree(store.path.parent, backup, ignore=shutil.ignore_patterns("key-encryption-key.*"))
    store.erase("anna", 5)
    store.settle()
    for path in store.path.parent.glob("key-encryption-key.*"):
        shutil.copy(path, backup)
    with pytest.raises(
        UnavailableError, match="found no key-encryption key, expected the one of generation 1"
    ):
        KeyStore(backup).find([key.name])


def test_what_this_store_cannot_have_named_is_broken_and_neither_lost_nor_destroyed(
    store: KeyStore, tmp_path: Path
) -> None:
    other = KeyStore.made(tmp_path / "other").ensure([ANNA])[ANNA].name
    own = store.ensure([ANNA])[ANNA].name
    forged = [
        other,
        own._replace(number=2),
        own._replace(number=2**64 - 1),
        own._replace(mark=bytes(8)),
        KeyName(store.id, 5, bytes(8)),
    ]
    assert {kept.state for kept in store.find(forged).values()} == {"broken"}
    assert store.find([own])[own].state == "present"


def test_a_missing_key_store_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no key store, expected the one under whose keys"):
        KeyStore(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_another_key_encryption_key_opens_nothing(store: KeyStore) -> None:
    key = store.ensure([ANNA])[ANNA]
    [path] = store.path.parent.glob("key-encryption-key.*")
    path.chmod(0o600)
    path.write_bytes(bytes(32))
    with pytest.raises(DamagedError, match=r"found another key-encryption key.*nothing is erased"):
        store.find([key.name])
    path.write_bytes(bytes(31))
    with pytest.raises(DamagedError, match="found 31 bytes, expected a key-encryption key of 32"):
        store.find([key.name])
    path.chmod(0o666)
    with pytest.raises(UnavailableError, match="found a file of mode 0666"):
        store.find([key.name])
    path.unlink()
    with pytest.raises(UnavailableError, match="found no key-encryption key"):
        store.ensure([BERT])
    with pytest.raises(UnavailableError, match="found no key-encryption key"):
        store.settle()


def test_two_rows_whose_keys_are_exchanged_open_nothing(store: KeyStore) -> None:
    keys = store.ensure([ANNA, BERT])
    with sqlite3.connect(store.path) as file:
        rows = dict(file.execute("SELECT number, wrapped FROM keys"))
        file.executemany("UPDATE keys SET wrapped = ? WHERE number = ?", [(rows[3 - at], at) for at in rows])
    file.close()
    with pytest.raises(DamagedError):
        store.find([keys[ANNA].name])


def test_a_file_that_is_no_key_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(DamagedError, match=r"keys\.sqlite"):
        KeyStore(tmp_path)


def test_a_store_that_another_process_locks_is_said_and_left_whole(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.ensure([ANNA])[ANNA]
    store._file.file.execute("PRAGMA busy_timeout = 50")
    with sqlite3.connect(store.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="cannot be used now"):
            store.ensure([BERT])
        assert store.find([key.name])[key.name].key == key.key, "readers are not in the way"
        other.execute("ROLLBACK")
    other.close()
    assert BERT in store.ensure([BERT])


def test_threads_and_a_second_opening_get_one_key_each(store: KeyStore) -> None:
    others = [store, KeyStore(store.path.parent)]
    wanted = [KeyFor("anna", 30, day) for day in range(20)]
    with ThreadPoolExecutor(4) as pool:
        made = [*pool.map(lambda at: others[at % 2].ensure([wanted[at % 20]]), range(200))]
    names = {(of, key.name) for each in made for of, key in each.items()}
    assert len(names) == 20


def test_only_the_owner_can_read_what_is_kept(store: KeyStore) -> None:
    store.ensure([ANNA])
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_who_asked_for_keys_is_kept_in_order(store: KeyStore) -> None:
    asked = [
        Release(at, "training-run", "ai:ModelTraining", "v1", "allow", "sinks.training-run") for at in (3, 1)
    ]
    for each in asked:
        store.record(each)
    assert KeyStore(store.path.parent).releases() == asked


def test_days_are_those_of_utc() -> None:
    assert [day_of(at) for at in (0, DAY_NS - 1, DAY_NS)] == [0, 0, 1]


def _mixed(key: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(key, other, strict=True))


class _Elsewhere:
    """A stand-in for a key management service: keys never leave it, and it counts what it is asked."""

    def __init__(self) -> None:
        self._keys: dict[int, bytes] = {}
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def begin(self, generation: int) -> None:
        self._keys.setdefault(generation, os.urandom(32))

    def wrap(self, generation: int, keys: Sequence[Named]) -> list[bytes]:
        self.asked.append(f"wrap {len(keys)}")
        return [
            bytes(a ^ b for a, b in zip(key, self._keys[generation], strict=True)) + name
            for key, name in keys
        ]

    def unwrap(self, generation: int, wrapped: Sequence[Named]) -> list[bytes]:
        self.asked.append(f"unwrap {len(wrapped)}")
        if generation not in self._keys:
            raise UnavailableError("the service does not have this key")
        keys = list[bytes]()
        for each, name in wrapped:
            if each[32:] != name:
                raise DamagedError("another name")
            keys.append(_mixed(each[:32], self._keys[generation]))
        return keys

    def end(self, generation: int) -> None:
        self._keys = {each: key for each, key in self._keys.items() if each >= generation}


def test_a_key_management_service_can_stand_behind_it(tmp_path: Path) -> None:
    service = _Elsewhere()
    store = KeyStore.made(tmp_path / "keys", service)
    keys = store.ensure([ANNA, BERT])
    assert "wrap 2" in service.asked, "one request for several keys"
    assert store.renew() == 3
    assert KeyStore(tmp_path / "keys", service).ensure([ANNA, BERT]) == keys
    assert [path.name for path in (tmp_path / "keys").iterdir() if "encryption" in path.name] == []
    assert [*service._keys] == [2]


def test_an_older_store_beside_a_newer_key_encryption_key_destroys_nothing(
    store: KeyStore, tmp_path: Path
) -> None:
    keys = store.ensure([ANNA])
    older = (store.path.read_bytes(), tmp_path / "older")
    store.renew()
    shutil.copytree(store.path.parent, older[1])
    (older[1] / store.path.name).write_bytes(older[0])
    with pytest.raises(UnavailableError, match="expected the one of generation 1"):
        KeyStore(older[1]).settle()
    assert [path.name for path in older[1].glob("key-enc*")] == ["key-encryption-key.2"]
    shutil.copy(store.path, older[1])
    assert KeyStore(older[1]).ensure([ANNA]) == keys


def test_keys_that_were_destroyed_owe_a_new_key_encryption_key_until_it_is_there(store: KeyStore) -> None:
    store.ensure([ANNA, BERT])
    store.erase("anna", 5)
    store.close()
    again = KeyStore(store.path.parent)
    assert len([*store.path.parent.glob("key-enc*")]) == 2
    assert again.settle() == 2, "the one of bert, and that of the marks"
    assert [path.name for path in store.path.parent.glob("key-enc*")] == ["key-encryption-key.2"]
    assert again.settle() == 0


def test_a_transaction_that_cannot_end_leaves_nothing_behind(store: KeyStore) -> None:
    store._file.file.execute("PRAGMA busy_timeout = 50")
    key = store.ensure([ANNA])[ANNA]
    with sqlite3.connect(store.path, isolation_level=None) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM keys").fetchall()
        with pytest.raises(UnavailableError, match="cannot be used now"):
            store.ensure([BERT])
        reader.execute("COMMIT")
    reader.close()
    assert BERT in store.ensure([BERT])
    assert KeyStore(store.path.parent).ensure([ANNA])[ANNA] == key


def test_an_empty_file_is_no_key_store(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").touch()
    with pytest.raises(DamagedError, match="found no tables of a key store"):
        KeyStore(tmp_path)
