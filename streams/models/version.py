"""A model version as published on `glasses.models`: the model, what it was made from, and its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from msgspec import DecodeError, Meta, Struct, json

from streams.errors import MalformedError
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN, format_id
from streams.events.runs import Parent, Run
from streams.limits import NUMBER_MAX, TOKEN_CHARACTERS_MAX
from streams.models.intent import IntentModel
from streams.topology import TRAINING_SOURCE

SOURCE, STREAM = TRAINING_SOURCE, "intent-model"
CURRENT_KEY = b"model/current"
_RULE_CHARACTERS_MAX = 4096  #: a rule can list all words of a vocabulary
_Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_Positive = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
_Word = Annotated[str, Meta(max_length=TOKEN_CHARACTERS_MAX)]
_Source = Annotated[str, Meta(pattern=rf"\A{NAME_PATTERN.pattern}\Z")]
_Stream = Annotated[str, Meta(pattern=rf"\A{STREAM_PATTERN.pattern}\Z")]
_Rule = Annotated[str, Meta(max_length=_RULE_CHARACTERS_MAX)]


class _Manifest(Struct, forbid_unknown_fields=True):
    seed_examples: _Number
    seed_digest: _Word
    admitted: list[tuple[_Source, _Stream, _Number, _Positive, _Positive]]
    refused: list[tuple[_Source, _Stream, _Number, _Positive, _Positive, _Rule]]
    wearers: dict[_Source, list[_Number]]
    left_out: _Number = 0
    validation: list[tuple[_Source, _Stream, _Number, _Positive, _Positive]] = []
    test: list[tuple[_Source, _Stream, _Number, _Positive, _Positive]] = []


class _Version(Struct, forbid_unknown_fields=True):
    """Value of the record of a version."""

    v: Literal[1]
    version: _Positive
    zone: _Word
    label: str
    policy_version: _Word
    accuracy: Annotated[float, Meta(ge=0, le=1)]
    trained_ns: _Number
    retrain_by_ns: _Number
    declassifier: _Word
    manifest: _Manifest
    model: dict[str, Any]
    declined: _Rule = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version was made from, and from which wearers under which consents (wearer to record numbers).

    Runs are (source, stream, run) of examples; `refused` adds the rule that refused them. `left_out` is the
    number of further examples, about which nothing else is recorded. `validation` and `test` are admitted
    examples that it was not fitted on, because they are kept for measuring.
    """

    seed_examples: int
    seed_digest: str
    admitted: Sequence[tuple[str, str, Run]]
    refused: Sequence[tuple[str, str, Run, str]]
    wearers: Mapping[str, Sequence[int]]
    left_out: int = 0
    validation: Sequence[tuple[str, str, Run]] = ()
    test: Sequence[tuple[str, str, Run]] = ()

    @property
    def examples(self) -> int:
        """Number of examples that it was fitted on, including the seed."""
        return self.seed_examples + sum(run.count for _, _, run in self.admitted)

    def dump(self) -> dict[str, Any]:
        """Fields that JSON can encode."""
        return {
            "seed_examples": self.seed_examples,
            "seed_digest": self.seed_digest,
            "admitted": _numbers(self.admitted),
            "refused": [
                [source, stream, run.first, run.step, run.count, rule]
                for source, stream, run, rule in self.refused
            ],
            "wearers": dict(self.wearers),
            # Without these the bytes are the same as before the fields existed.
            **({"left_out": self.left_out} if self.left_out else {}),
            **({"validation": _numbers(self.validation)} if self.validation else {}),
            **({"test": _numbers(self.test)} if self.test else {}),
        }


@dataclass(frozen=True, eq=False)
class ModelVersion:
    """One version. `label` is packed; `declassifier` names what loosened it (empty: nothing did).

    `declined` says why it never serves, because it was worse than the version that served when it was made;
    empty: it was promoted. `retrain_by_ns` is the time from which it may no longer serve, so a new version
    must be trained before.
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
    declined: str = ""

    @property
    def edge(self) -> Parent:
        """Edge that names it as a parent of an event that used its prediction."""
        return Parent(SOURCE, STREAM, self.version, 1, 1, "indirect")

    def dump(self) -> bytes:
        """Value of the record on `glasses.models`."""
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
                "manifest": self.manifest.dump(),
                "model": self.model.dump(),
                **({"declined": self.declined} if self.declined else {}),
            }
        )

    @classmethod
    def load(cls, value: bytes | None) -> ModelVersion:
        """Version from a record's value; MalformedError if the value is no version."""
        try:
            fields = json.decode(value or b"", type=_Version)
            label = bytes.fromhex(fields.label)
            manifest = fields.manifest
            return cls(
                fields.version,
                IntentModel.load(fields.model),
                Manifest(
                    manifest.seed_examples,
                    manifest.seed_digest,
                    [(source, stream, Run(*run)) for source, stream, *run in manifest.admitted],
                    [
                        (source, stream, Run(first, step, count), rule)
                        for source, stream, first, step, count, rule in manifest.refused
                    ],
                    manifest.wearers,
                    manifest.left_out,
                    [(source, stream, Run(*run)) for source, stream, *run in manifest.validation],
                    [(source, stream, Run(*run)) for source, stream, *run in manifest.test],
                ),
                fields.zone,
                label,
                fields.policy_version,
                fields.accuracy,
                fields.trained_ns,
                fields.retrain_by_ns,
                fields.declassifier,
                fields.declined,
            )
        except MalformedError:
            raise
        except (DecodeError, ValueError, RecursionError) as error:
            raise MalformedError(
                f"model version: found something else ({type(error).__name__}), expected what training writes"
            ) from None


def _numbers(runs: Sequence[tuple[str, str, Run]]) -> list[list[str | int]]:
    return [[source, stream, run.first, run.step, run.count] for source, stream, run in runs]


def ids_of(*runs: Sequence[tuple[str, str, Run]]) -> list[str]:
    """Identities of the examples in runs of a manifest."""
    return [
        format_id(source, stream, number) for some in runs for source, stream, run in some for number in run
    ]


def version_key(version: int) -> bytes:
    """Key of a version on `glasses.models`."""
    return f"model/{version}".encode()
