"""Kinds of event: the name and type of each kind's columns, and sets of kinds.

There is no global registry. Code that decodes, checks or documents events is passed the `Kinds` to use;
`streams.events.shipped` defines those that come with Sightline, and users define their own in the same way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Literal, TypeAlias, get_args

from streams.errors import InputError, MalformedError
from streams.limits import NAMES_KNOWN_MAX, TEXT_CHARACTERS_MAX, TOKEN_CHARACTERS_MAX

#: Type of a column: `number`, `flag`, `text` (what people say), `token` (one word of a device or a program),
#: `tokens` (several tokens, separated by spaces), or an enumeration such as `cool|normal|hot`. A question
#: mark at the end allows null: the device did not measure the value, or it does not apply to the event.
ColumnType: TypeAlias = str
#: Type of a column of numbers in a packed batch: float or integer of 4 or 8 bytes, little-endian.
WireType = Literal["f4", "f8", "i4", "i8"]
#: Least and greatest value of columns that hold angles on Earth, inclusive.
RANGES: Mapping[str, tuple[float, float]] = {"latitude_deg": (-90, 90), "longitude_deg": (-180, 180)}
#: Endings of column names and the unit that each means.
UNITS: Mapping[str, str] = {
    "mps2": "m/s²",
    "radps": "rad/s",
    "degps": "°/s",
    "deg": "°",
    "rad": "rad",
    "m": "m",
    "mm": "mm",
    "mps": "m/s",
    "s": "s",
    "ms": "ms",
    "us": "µs",
    "ns": "ns",
    "percent": "%",
    "px": "px",
    "hz": "Hz",
    "ma": "mA",
    "dbfs": "dBFS",
    "db": "dB",
    "dbm": "dBm",
    "pa": "Pa",
    "hpa": "hPa",
    "kpa": "kPa",
    "celsius": "°C",
    "c": "°C",
    "lux": "lx",
    "bpm": "1/min",
    "bytes": "bytes",
    "ut": "µT",
}
_TOKEN = rf"[A-Za-z0-9][A-Za-z0-9:._/~+-]{{0,{TOKEN_CHARACTERS_MAX - 1}}}"


@dataclass(frozen=True)
class TextForm:
    """Form that a text on the wire must have: a pattern for all of it, its maximal length, a description.

    `words` are the values of an enumeration, empty for other types.
    """

    pattern: re.Pattern[str]
    characters_max: int
    description: str
    words: tuple[str, ...] = ()

    def takes(self, text: str) -> bool:
        """Whether a text has this form."""
        return len(text) <= self.characters_max and self.pattern.fullmatch(text) is not None


TOKEN = TextForm(
    re.compile(_TOKEN),
    TOKEN_CHARACTERS_MAX,
    f"a word of 1 to {TOKEN_CHARACTERS_MAX} letters, digits and :._/~+- that begins with a letter or a digit",
)
_FORMS: Mapping[str, TextForm] = {
    "text": TextForm(
        re.compile(r"[^\u0000-\u001f\u007f-\u009f]*"),
        TEXT_CHARACTERS_MAX,
        f"at most {TEXT_CHARACTERS_MAX} characters and no control character",
    ),
    "token": TOKEN,
    "tokens": TextForm(
        re.compile(rf"(?:{_TOKEN}(?: {_TOKEN})*)?"),
        TEXT_CHARACTERS_MAX,
        f"words of letters, digits and :._/~+-, a space between two, at most {TEXT_CHARACTERS_MAX} letters",
    ),
}


@cache
def text_form(wanted: str) -> TextForm | None:
    """Form of the texts in a column of type `wanted`; None if it holds numbers or flags."""
    if "|" in wanted:
        words = tuple(wanted.split("|"))
        return TextForm(re.compile(wanted), max(map(len, words)), f"one of {', '.join(words)}", words)
    return _FORMS.get(wanted.rstrip("?"))


_PLAIN_TYPES = frozenset({"number", "flag", *_FORMS})
_NAME, _COLUMN = re.compile("[a-z][a-z0-9_]{0,31}"), re.compile("[a-z][a-z0-9_]{0,63}")
#: The name of a derived kind is also the name of its streams, which may not contain underscores.
DERIVED_NAME_PATTERN = re.compile("[a-z][a-z0-9]{0,31}")


@dataclass(frozen=True)
class Kind:
    """One kind of event: its name, whether devices capture it, and its columns (name to type).

    `wire` has the packed type of columns of numbers; the default is `f8`. `says` has, for schemas and pages,
    a sentence about the kind (`about`) and one about each column. `unitless` names the columns of numbers
    that have no unit, such as counts and shares; a number that is not among them and whose name ends in no
    unit is unlabelled (`sightline inventory`). `later` names columns of texts that devices of before do not
    send; a batch need not have them. InputError if the name, or the name or type of a column, is
    malformed, `says` explains something else, or `unitless` names something else than a column of numbers.
    """

    name: str
    captured: bool
    columns: Mapping[str, ColumnType]
    wire: Mapping[str, WireType] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict, compare=False)
    unitless: tuple[str, ...] = field(default=(), compare=False)
    later: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (_NAME if self.captured else DERIVED_NAME_PATTERN).fullmatch(self.name) is None:
            allowed = "letters, digits and underscores" if self.captured else "letters and digits"
            raise InputError(
                f"kind {self.name!r}: found a name of another form, expected at most 32 lower-case "
                f"{allowed}, the first a letter"
            )
        for column, wanted in self.columns.items():
            if _COLUMN.fullmatch(column) is None:
                raise InputError(
                    f"kind {self.name}: found a column called {column!r}, expected at most 64 lower-case "
                    "letters, digits and underscores, the first a letter, with the unit at the end"
                )
            if not _is_type(wanted):
                raise InputError(
                    f"kind {self.name}, column {column}: found the type {wanted!r}, expected "
                    f"{', '.join(sorted(_PLAIN_TYPES))}, or several words with bars between them; a question "
                    "mark behind one of the former where a value may be missing"
                )
        numbers = [column for column, wanted in self.columns.items() if wanted.rstrip("?") == "number"]
        for column, packed in self.wire.items():
            if column not in numbers or packed not in get_args(WireType):
                raise InputError(
                    f"kind {self.name}, column {column}: found {packed!r} for its packed form, expected "
                    f"one of {', '.join(get_args(WireType))}, for a column of numbers"
                )
        if strange := self.says.keys() - {"about", *self.columns}:
            raise InputError(
                f"kind {self.name}: explains {min(strange)!r}, expected about, or one of its columns: "
                f"{', '.join(self.columns)}"
            )
        if strange := set(self.unitless) - set(numbers):
            raise InputError(
                f"kind {self.name}: found {min(strange)!r} among what has no unit, expected columns of "
                f"numbers: {', '.join(numbers) or 'it has none'}"
            )
        texts = {column for column in self.nullable if text_form(self.columns[column]) is not None}
        if strange := set(self.later) - texts:
            raise InputError(
                f"kind {self.name}: found {min(strange)!r} among what may be left out, expected columns of"
                " texts that may be missing"
            )
        # Copies: decoders are built from a kind once, so the caller must not change the mappings afterwards.
        object.__setattr__(self, "columns", dict(self.columns))
        object.__setattr__(self, "says", dict(self.says))
        object.__setattr__(self, "wire", {**dict.fromkeys(numbers, "f8"), **self.wire})

    @property
    def event_type(self) -> str:
        """CloudEvents `type`."""
        return event_type(self.name).decode()

    def may_have(self, columns: AbstractSet[str]) -> bool:
        """Whether a batch of the kind can have just these columns."""
        return self.columns.keys() - set(self.later) <= columns <= self.columns.keys()

    @property
    def nullable(self) -> tuple[str, ...]:
        """Columns in which a value may be missing."""
        return tuple(column for column, wanted in self.columns.items() if wanted.endswith("?"))

    @property
    def schema_digest(self) -> str:
        """Digest of the schema: 64 bits of a SHA-256 over name, columns, types and packed types."""
        schema = [self.event_type, self.captured, list(self.columns.items()), sorted(self.wire.items())]
        return hashlib.sha256(json.dumps(schema, separators=(",", ":")).encode()).hexdigest()[:16]

    def unlabelled(self) -> list[str]:
        """Columns of numbers whose names end in no unit and that are not declared to be without one."""
        return [
            column
            for column, wanted in self.columns.items()
            if wanted.rstrip("?") == "number" and not unit(column) and column not in self.unitless
        ]


class Kinds(Mapping[str, Kind]):
    """An ordered set of kinds by name. Hashable by value, so that equal sets share cached objects.

    `Codec`, the zones stage, the store's writer and the generated documentation are built from it.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._by_name = kinds

    @classmethod
    def of(cls, *kinds: Kind) -> Kinds:
        """Make a set; InputError if two kinds have one name, or if devices capture none of them."""
        by_name: dict[str, Kind] = {}
        for kind in kinds:
            if kind.name in by_name:
                raise InputError(
                    f"kind {kind.name}: found two of this name, expected one; give yours another name"
                )
            by_name[kind.name] = kind
        if not any(kind.captured for kind in kinds):
            raise InputError(
                "kinds: found none that a device captures, expected at least one; nothing else could be sent"
            )
        return cls(by_name)

    def __getitem__(self, name: str) -> Kind:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __hash__(self) -> int:
        return hash(frozenset(self._by_name))

    @cached_property
    def captured(self) -> tuple[Kind, ...]:
        """Kinds that devices capture."""
        return tuple(kind for kind in self._by_name.values() if kind.captured)

    @cached_property
    def derived(self) -> tuple[Kind, ...]:
        """Kinds that stages derive; not `model`, which has no columns because models are not batches."""
        return tuple(kind for kind in self._by_name.values() if not kind.captured and kind.columns)

    def with_kind(self, kind: Kind) -> Kinds:
        """Return a copy in which `kind` is added, or replaces the kind of the same name."""
        return Kinds.of(*{**self._by_name, kind.name: kind}.values())

    def named(self, name: object, *, captured: bool) -> Kind:
        """Return the captured (or derived) kind called `name`; MalformedError lists the known ones."""
        kind = self._by_name.get(name) if isinstance(name, str) else None
        if kind is None or kind.captured is not captured:
            known = ", ".join(other.name for other in self._by_name.values() if other.captured is captured)
            raise MalformedError(f"kind: found one that is not known here, expected one of {known}")
        return kind


def unit(column: str) -> str:
    """Unit that a column's name ends in; empty where it has none."""
    _, behind, ending = column.rpartition("_")
    return UNITS.get(ending, "") if behind else ""


@lru_cache(maxsize=NAMES_KNOWN_MAX)
def event_type(kind: str) -> bytes:
    """CloudEvents `type` of a kind's events, as a header has it."""
    return f"glasses.{kind}.v1".encode()


def _is_type(wanted: str) -> bool:
    if "|" in wanted:
        return all(TOKEN.takes(word) for word in wanted.split("|"))
    return wanted.removesuffix("?") in _PLAIN_TYPES
