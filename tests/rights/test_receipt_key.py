"""The key of receipts is made once, is its owner's alone, and is never replaced in silence."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from streams.errors import DamagedError, InputError, UnavailableError
from streams.rights.signing import PRIVATE, PUBLIC, ReceiptKey, public_key, verify
from tests.rights.receipts import EXAMPLE, GOLDEN_KEY


def test_it_is_made_on_first_use_and_signs_the_same_ever_after(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    before = os.umask(0)
    try:
        key = ReceiptKey.made(directory)
    finally:
        os.umask(before)
    assert {each.name: each.stat().st_mode & 0o777 for each in directory.iterdir()} == {
        PRIVATE: 0o600,
        PUBLIC: 0o600,
    }
    content = key.sign(EXAMPLE, [])
    assert ReceiptKey.made(directory).sign(EXAMPLE, []) == content
    assert verify(content, public_key(directory / PUBLIC)) == EXAMPLE
    assert ReceiptKey.made(tmp_path / "others").public != key.public


def test_who_makes_it_at_the_same_time_gets_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(30):
            directories = [tmp_path / f"keys-{number}"] * 8
            assert len({key.public for key in pool.map(ReceiptKey.made, directories)}) == 1


class Overtaken(PosixPath):
    """A path where another process makes the key right after somebody saw that there is none."""

    def exists(self, **options: bool) -> bool:
        seen = super().exists(**options)
        if self.name == PRIVATE and not seen:
            ReceiptKey.made(Path(self.parent))
        return seen


def test_a_key_that_appears_between_two_looks_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    key = ReceiptKey.made(Overtaken(tmp_path / "keys"))
    assert key.public == public_key(tmp_path / "keys" / PUBLIC)


def test_it_is_never_shown(tmp_path: Path) -> None:
    key = ReceiptKey.made(tmp_path)
    secret = (tmp_path / PRIVATE).read_text(encoding="ascii").splitlines()[1]
    assert secret not in f"{key!r} {key} {vars(key)}"


def test_a_lost_key_is_not_replaced_by_one_that_nobody_trusts(tmp_path: Path) -> None:
    ReceiptKey.made(tmp_path)
    (tmp_path / PRIVATE).rename(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match=r"found no key, expected the one that signs receipts"):
        ReceiptKey.made(tmp_path)
    assert not (tmp_path / PRIVATE).exists()


def test_a_lost_public_key_is_made_again(tmp_path: Path) -> None:
    """As after a crash between the two files."""
    public = ReceiptKey.made(tmp_path).public
    (tmp_path / PUBLIC).unlink()
    assert ReceiptKey.made(tmp_path).public == public == public_key(tmp_path / PUBLIC)


def test_a_public_key_of_another_one_is_damage(tmp_path: Path) -> None:
    ReceiptKey.made(tmp_path)
    (tmp_path / PUBLIC).write_bytes(GOLDEN_KEY.read_bytes())
    with pytest.raises(DamagedError, match="found the public key of another one"):
        ReceiptKey.made(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_signs_nothing(mode: int, tmp_path: Path) -> None:
    ReceiptKey.made(tmp_path)
    (tmp_path / PRIVATE).chmod(mode)
    with pytest.raises(UnavailableError, match=re.escape(f"found a file of mode {mode:04o}")):
        ReceiptKey.made(tmp_path)


def test_another_kind_of_key_is_damage(tmp_path: Path) -> None:
    ReceiptKey.made(tmp_path)
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (pem, b"", b"no key"):
        (tmp_path / PRIVATE).write_bytes(content)
        with pytest.raises(DamagedError, match=r"found no private key of Ed25519"):
            ReceiptKey.made(tmp_path)
    (tmp_path / PUBLIC).write_bytes(
        other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(InputError, match=r"found no public key of Ed25519"):
        public_key(tmp_path / PUBLIC)


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(InputError, match=r"found a file, expected a directory"):
        ReceiptKey.made(tmp_path / "keys")
