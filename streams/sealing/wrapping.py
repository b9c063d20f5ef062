"""The key-encryption key, under which a key store keeps its keys.

A key store asks for nothing but `Wrapping`, so that a key management service can stand behind it. What is
shipped keeps each generation of the key in a file of its own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams import files
from streams.errors import DamagedError, InputError, UnavailableError
from streams.sealing.sealed import KEY_BYTES, NONCE_BYTES

#: A key, and the name that it is bound to.
Named = tuple[bytes, bytes]


class Wrapping(Protocol):
    """Encrypts keys under a key-encryption key, of which there can be several generations, counted from 1."""

    def begin(self, generation: int) -> None:
        """Make the key of a generation, unless it exists."""

    def wrap(self, generation: int, keys: Sequence[Named]) -> list[bytes]:
        """Encrypt keys; each can only be decrypted by its name again."""

    def unwrap(self, generation: int, wrapped: Sequence[Named]) -> list[bytes]:
        """Inverse of `wrap`.

        UnavailableError if the generation's key is not there, DamagedError if it is not the one that wrapped
        these keys.
        """

    def end(self, generation: int) -> None:
        """Destroy the keys of all generations before. From then on what they wrapped cannot be read.

        UnavailableError, and nothing is destroyed, if the key of `generation` is not there.
        """


class FileWrapping:
    """Key-encryption keys in files `<path>.<generation>`, which only their owner can read.

    Whoever copies the key store and not these files has nothing. Keep them on another disk than its backups.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _file(self, generation: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{generation}")

    def begin(self, generation: int) -> None:
        """See `Wrapping`."""
        path = self._file(generation)
        try:
            with files.added(path) as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except InputError:
            # Another process made it, or an interrupted `KeyStore.renew` did.
            if not path.is_file():
                raise

    def wrap(self, generation: int, keys: Sequence[Named]) -> list[bytes]:
        """See `Wrapping`."""
        cipher, wrapped = self._cipher(generation), list[bytes]()
        for key, name in keys:
            nonce = secrets.token_bytes(NONCE_BYTES)
            wrapped.append(nonce + cipher.encrypt(nonce, key, name))
        return wrapped

    def unwrap(self, generation: int, wrapped: Sequence[Named]) -> list[bytes]:
        """See `Wrapping`."""
        cipher = self._cipher(generation)
        try:
            return [cipher.decrypt(each[:NONCE_BYTES], each[NONCE_BYTES:], name) for each, name in wrapped]
        except InvalidTag:
            raise DamagedError(
                f"{self._file(generation)}: found another key-encryption key than the one that wrapped these"
                " keys, expected the one that belongs to the key store; nothing is erased, bring it back"
            ) from None

    def end(self, generation: int) -> None:
        """See `Wrapping`."""
        self._cipher(generation)
        for file in self._path.parent.glob(f"{self._path.name}.*"):
            # A later one was begun by somebody who did not come further; the next to begin takes it.
            if file.suffix[1:].isdecimal() and int(file.suffix[1:]) < generation:
                files.destroy(file)

    def _cipher(self, generation: int) -> AESGCM:
        file = self._file(generation)
        if not file.is_file():
            raise UnavailableError(
                f"{file}: found no key-encryption key, expected the one of generation {generation} of the key"
                " store; nothing is erased by that, bring it back from where it is kept"
            )
        try:
            key = files.read_guarded(file, owner=os.geteuid(), bytes_max=KEY_BYTES)
        except InputError as error:
            raise UnavailableError(str(error)) from None
        if len(key) != KEY_BYTES:
            raise DamagedError(
                f"{file}: found {len(key)} bytes, expected a key-encryption key of {KEY_BYTES}; nothing is"
                " erased by that, bring it back from where it is kept"
            )
        return AESGCM(key)
