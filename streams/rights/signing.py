"""Receipts are signed with a key of their own, and believed only if the trusted key signed them.

The signature is Ed25519 (RFC 8032) over the canonical bytes of the receipt. The file is canonical too, so no
byte of it can be another one:

    {"form": ..., "key": base64, "receipt": {...}, "signature": base64}

`key` only says which key it claims. Who verifies has the trusted one from elsewhere.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Struct

from streams import files
from streams.errors import DamagedError, InputError, UnavailableError
from streams.limits import RECEIPT_BYTES_MAX
from streams.rights.receipt import (
    FORM,
    InvalidReceiptError,
    Receipt,
    canonical,
    fitting,
    plain,
    read,
    refuse_names,
    written,
)

#: Files in the directory of the key store. The second one is for everybody who verifies.
PRIVATE, PUBLIC = "receipt-key", "receipt-key.pub"
_PEM_BYTES_MAX = 1024


class _Signed(Struct, frozen=True, forbid_unknown_fields=True):
    form: str
    key: str
    receipt: dict[str, Any]
    signature: str


class ReceiptKey:
    """The key that receipts are signed with. It is never shown; `public` (32 bytes) is for everybody."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def made(cls, directory: Path) -> ReceiptKey:
        """The key in a directory; both its files are made on first use.

        UnavailableError if only the public one is there: another key would make receipts that nobody trusts.
        DamagedError if a file is no such key, or one does not belong to the other.
        """
        files.make_directory(directory)
        private, public = directory / PRIVATE, directory / PUBLIC
        # The public one is made last, so whoever saw it before finds the private one, unless that is lost.
        published = public.exists()
        if not private.exists():
            if published:
                raise UnavailableError(
                    f"{private}: found no key, expected the one that signs receipts, as {public} is there;"
                    " bring it back, or take that away to begin with another key that verifiers must be told"
                )
            _add(private, Ed25519PrivateKey.generate().private_bytes(*_PRIVATE_PEM))
        key = cls(_private(private))
        if not public.exists():
            _add(public, key._key.public_key().public_bytes(*_PUBLIC_PEM))
        if public_key(public) != key.public:
            raise DamagedError(
                f"{public}: found the public key of another one than {private}, expected its own; bring back"
                " the two that belong together"
            )
        return key

    def sign(self, receipt: Receipt, names: Collection[str]) -> bytes:
        """Content of the file of a signed receipt.

        `names` are those of the wearer and of her devices. InvalidReceiptError if one of them stands in it,
        if it is incomplete or contradicts itself, or if it gets too long.
        """
        refuse_names(receipt, names)
        signature = self._key.sign(written(receipt))
        return fitting(canonical(_file(receipt, self.public, signature)))


_PRIVATE_PEM = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
_PUBLIC_PEM = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _file(receipt: Receipt, public: bytes, signature: bytes) -> dict[str, Any]:
    return {
        "form": FORM,
        "key": base64.b64encode(public).decode(),
        "receipt": plain(receipt),
        "signature": base64.b64encode(signature).decode(),
    }


def public_key(path: Path) -> bytes:
    """The 32 bytes of the public key in a PEM file; InputError if there is none."""
    try:
        with path.open("rb") as file:
            key = load_pem_public_key(file.read(_PEM_BYTES_MAX))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({os.strerror(error.errno or 0)}), expected the public key of who signs"
            f" receipts; `{PUBLIC}` beside the key store is ours"
        ) from None
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(
            f"{path}: found no public key of Ed25519 in PEM, expected the one that signs receipts"
        )
    return key.public_bytes_raw()


def verify(content: bytes, public: bytes) -> Receipt:
    """The receipt in the content of a file, if the trusted key `public` signed it.

    InvalidReceiptError if it did not, if a byte was changed, or if no receipt may say this.
    """
    fitting(content)
    try:
        signed = msgspec.json.decode(content, type=_Signed)
        claimed, signature = base64.b64decode(signed.key), base64.b64decode(signed.signature)
    # Of text that is no UTF-8, no JSON, no base64, or nested too deeply.
    except (ValueError, RecursionError):
        raise InvalidReceiptError(
            f"receipt: found no signed receipt, expected JSON of the form {FORM}, as it was handed out"
        ) from None
    if claimed != public:
        raise InvalidReceiptError(
            "receipt: found that another key signed it than the trusted one; anybody can sign with a key of"
            " their own, so ask who handed it out for their public key"
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(signed.receipt))
    except InvalidSignature:
        raise InvalidReceiptError(
            "receipt: found a signature of something else, expected one of this receipt; it was changed after"
            " it was signed"
        ) from None
    receipt = read(signed.receipt)
    if canonical(_file(receipt, claimed, signature)) != content:
        raise InvalidReceiptError(
            "receipt: found other bytes than the canonical ones of what it says, expected it as it was handed"
            " out: no space, no line end, no name twice"
        )
    return receipt


def read_file(path: Path) -> bytes:
    """The content of a receipt's file, or more than a receipt may have; InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(RECEIPT_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({os.strerror(error.errno or 0)}), expected a signed receipt"
        ) from None


def _add(path: Path, content: bytes) -> None:
    try:
        with files.added(path) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except InputError:
        # Another process made it at the same time; then that one is used.
        if not path.is_file():
            raise


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        content = files.read_guarded(path, owner=os.geteuid(), bytes_max=_PEM_BYTES_MAX)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (InputError, OSError) as error:
        raise UnavailableError(str(error)) from None
    if mode & 0o077:
        raise UnavailableError(
            f"{path}: found a file of mode {mode:04o}, expected one that only its owner can read: who read it"
            " signs as we do; begin with another key, or `chmod go-rwx` if nobody did"
        )
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise DamagedError(
            f"{path}: found no private key of Ed25519, expected the one that signs receipts; bring it back"
        )
    return key
