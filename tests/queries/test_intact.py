"""A file of a store that is not what its writer wrote is found, and said, when it is first read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash

from streams.errors import DamagedError
from streams.queries import intact

WRITTEN = b"what the writer wrote" * 100_000
DIGEST = xxhash.xxh3_128_hexdigest(WRITTEN)


def elsewhere(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "cut": lambda path: os.truncate(path, 1000),
    "altered": lambda path: path.write_bytes(b"W" + WRITTEN[1:]),
    "linked elsewhere": elsewhere,
    "a directory": directory,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("before", [True, False], ids=["read before", "not read yet"])
def test_damage_is_a_sentence_with_the_file(
    tmp_path: Path, damage: Callable[[Path], object], *, before: bool
) -> None:
    path = tmp_path / "segment"
    path.write_bytes(WRITTEN)
    if before:
        intact.check(tmp_path, {"segment": DIGEST})
    damage(path)
    with pytest.raises(DamagedError, match=r"segment: found .*; the store is damaged\. To go on") as caught:
        intact.check(tmp_path, {"segment": DIGEST})
    assert caught.value.exit_code == 3


def test_a_file_is_read_once_while_it_is_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "segment", list[Path]()
    path.write_bytes(WRITTEN)
    original = intact.digest_of

    def counted(path: Path) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(intact, "digest_of", counted)
    for _ in range(3):
        intact.check(tmp_path, {"segment": DIGEST})
    assert read == [path]
    path.chmod(0o400)
    intact.check(tmp_path, {"segment": DIGEST})
    assert read == [path, path]
