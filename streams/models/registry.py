"""The model versions that a worker knows: what `glasses.models` holds, read whole and followed."""

from __future__ import annotations

from collections.abc import Callable, Collection

import orjson

from streams.errors import MalformedError, UnavailableError
from streams.limits import LABEL_BYTES
from streams.models.version import CURRENT_KEY, ModelVersion, version_key
from streams.topology import MODELS


class Models:
    """The model versions that a worker knows, and the current one; filled from `glasses.models`.

    `zones` says which zones a version may be in; None: any.
    """

    def __init__(self, zones: Callable[[], Collection[str]] | None = None) -> None:
        self.versions: dict[int, ModelVersion] = {}
        self.current = 0
        self._zones = zones

    def version(self, number: int) -> ModelVersion:
        """Version by number; UnavailableError when this worker has not read it.

        No record is to blame for that.
        """
        if number not in self.versions:
            raise UnavailableError(
                f"model version {number} is not on {MODELS}; "
                "start the worker again, or look into what removed it"
            )
        return self.versions[number]

    def learn(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one record of `glasses.models`.

        MalformedError when it is neither a version nor the pointer.

        A version is what it is for ever: one that brings another model under a known number would change what
        was already answered.
        """
        if key == CURRENT_KEY:
            pointed = _pointed(value)
            if pointed not in self.versions:
                raise MalformedError(
                    "model/current: points to a version that is not there, expected one written before"
                )
            self.current = pointed
            return
        version = ModelVersion.load(value)
        known = self.versions.get(version.version)
        if key != version_key(version.version) or len(version.label) != LABEL_BYTES:
            raise MalformedError(
                "model version: its key or its label has another form, expected what training writes"
            )
        if self._zones is not None and version.zone not in self._zones():
            raise MalformedError(
                "model version: its zone is none of any policy's, expected one that a policy version names"
            )
        if known is not None and known.dump() != version.dump():
            raise MalformedError(
                "model version: found another one under a known number, expected a new number"
            )
        self.versions[version.version] = version


def _pointed(value: bytes | None) -> int:
    try:
        pointed = orjson.loads(value or b"")["version"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pointed = None
    if type(pointed) is not int:
        raise MalformedError("model/current: found no version, expected an object with the number of one")
    return pointed
