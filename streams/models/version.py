"""A model version as it stands on `glasses.models`: the model, what it was made of, and its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from streams.errors import MalformedError
from streams.events.runs import Run
from streams.models.intent import IntentModel
from streams.topology import TRAINING_SOURCE

SOURCE, STREAM = TRAINING_SOURCE, "intent-model"
CURRENT_KEY = b"model/current"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version was made of, from which wearers, under which of their consents (wearer to numbers).

    Runs are (source, stream, run) of examples; `refused` adds the rule that kept them out.
    """

    seed_examples: int
    seed_digest: str
    admitted: Sequence[tuple[str, str, Run]]
    refused: Sequence[tuple[str, str, Run, str]]
    wearers: Mapping[str, Sequence[int]]

    @property
    def examples(self) -> int:
        """How many examples it was fitted on, seed included."""
        return self.seed_examples + sum(run.count for _, _, run in self.admitted)


@dataclass(frozen=True, eq=False)
class ModelVersion:
    """One version. `label` is packed, `declassifier` what loosened it (empty: nothing did).

    `retrain_by_ns` is when it may no longer serve without being made again.
    """

    version: int
    model: IntentModel
    manifest: Manifest
    zone: str
    label: bytes
    policy_version: str
    accuracy: float
    trained_ns: int
    retrain_by_ns: int
    declassifier: str = ""

    def dump(self) -> bytes:
        """Value of the record on `glasses.models`."""
        manifest = {
            "seed_examples": self.manifest.seed_examples,
            "seed_digest": self.manifest.seed_digest,
            "admitted": [
                [source, stream, run.first, run.step, run.count]
                for source, stream, run in self.manifest.admitted
            ],
            "refused": [
                [source, stream, run.first, run.step, run.count, rule]
                for source, stream, run, rule in self.manifest.refused
            ],
            "wearers": dict(self.manifest.wearers),
        }
        return orjson.dumps(
            {
                "v": 1,
                "version": self.version,
                "zone": self.zone,
                "label": self.label.hex(),
                "policy_version": self.policy_version,
                "accuracy": self.accuracy,
                "trained_ns": self.trained_ns,
                "retrain_by_ns": self.retrain_by_ns,
                "declassifier": self.declassifier,
                "manifest": manifest,
                "model": self.model.dump(),
            }
        )

    @classmethod
    def load(cls, value: bytes | None) -> ModelVersion:
        """Version from a record's value; MalformedError when it is none."""
        try:
            fields: Mapping[str, Any] = orjson.loads(value or b"")
            if type(fields["version"]) is not int or fields["version"] < 1 or not fields["model"]["intents"]:
                raise TypeError  # noqa: TRY301  said below, as of every other field
            manifest = fields["manifest"]
            return cls(
                int(fields["version"]),
                IntentModel.load(fields["model"]),
                Manifest(
                    manifest["seed_examples"],
                    manifest["seed_digest"],
                    [(source, stream, Run(*run)) for source, stream, *run in manifest["admitted"]],
                    [
                        (source, stream, Run(first, step, count), rule)
                        for source, stream, first, step, count, rule in manifest["refused"]
                    ],
                    dict(manifest["wearers"]),
                ),
                fields["zone"],
                bytes.fromhex(fields["label"]),
                fields["policy_version"],
                float(fields["accuracy"]),
                int(fields["trained_ns"]),
                int(fields["retrain_by_ns"]),
                str(fields["declassifier"]),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedError(
                f"model version: found something else ({type(error).__name__}), expected what training writes"
            ) from None


def version_key(version: int) -> bytes:
    """Key of a version on `glasses.models`."""
    return f"model/{version}".encode()
