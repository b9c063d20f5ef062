"""When each alert begins and ends: every threshold with its unit, and the file that changes some of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_type_hints

from msgspec import Struct, field
from msgspec.structs import fields, replace

from streams import limits
from streams.errors import InputError, reason
from streams.settings.file import unknown

#: No threshold in seconds or events is above this: ten years.
_LARGEST = 10 * 366 * 86_400


class Watching(Struct, frozen=True, kw_only=True):
    """What every alert rule has: `off` takes it out of judgement."""

    off: bool = False


class NewFlow(Watching, frozen=True, kw_only=True):
    """What flows in the first `learned_s` seconds of a store is taken as known.

    A later flow stands for `shown_s`, unless it is one of `known`, each written as `zone -> sink`.
    """

    learned_s: float = 3600.0
    shown_s: float = 3600.0
    known: tuple[str, ...] = ()


class RefusalsRising(Watching, frozen=True, kw_only=True):
    """A rule refused `events_min` events in `recent_s` and `factor` times as many as in `before_s` before."""

    recent_s: float = 60.0
    before_s: float = 600.0
    factor: float = 3.0
    events_min: int = 100


class Unconfigured(Watching, frozen=True, kw_only=True):
    """Something was unconfigured in the last `recent_s`."""

    recent_s: float = 60.0


class DeviceStopped(Watching, frozen=True, kw_only=True):
    """A device said nothing for `silent_s` while others did; after `forgotten_s` nobody waits for it."""

    silent_s: float = 60.0
    forgotten_s: float = 3600.0


class LagGrowing(Watching, frozen=True, kw_only=True):
    """A reader is at least `behind_s` behind, and has more records before it than `window_s` ago."""

    behind_s: float = 15.0
    window_s: float = 30.0


class LineageIncomplete(Watching, frozen=True, kw_only=True):
    """A derived event lacks a parent in the store `settling_s` after its own epoch; it stands for `shown_s`.

    The first look goes back `checked_s` further.
    """

    settling_s: float = 10.0
    checked_s: float = 60.0
    shown_s: float = 600.0


class ModelOverdue(Watching, frozen=True, kw_only=True):
    """A model is to be retrained within `ahead_s`, or was to be."""

    ahead_s: float = 0.0


class FeedbackBad(Watching, frozen=True, kw_only=True):
    """Of at least `events_min` feedback events in `recent_s`, at least the share `bad_min` found fault."""

    recent_s: float = 600.0
    events_min: int = 20
    bad_min: float = 0.5


class ConsentLate(Watching, frozen=True, kw_only=True):
    """Data passed by a consent more than `within_s` after a wearer took it back; it stands for `shown_s`."""

    within_s: float = 10.0
    shown_s: float = 600.0


class NoEpoch(Watching, frozen=True, kw_only=True):
    """No epoch was published for `silent_s`."""

    silent_s: float = 60.0


class DiskFilling(Watching, frozen=True, kw_only=True):
    """Less than the share `free_min` of the store's disk is free.

    Or it will be full in `full_within_s`, if it fills as in the last `window_s`.
    """

    free_min: float = 0.05
    full_within_s: float = 3600.0
    window_s: float = 600.0


class Thresholds(Struct, frozen=True, kw_only=True, rename="kebab"):
    """The thresholds of all alert rules; the fields have the names of the rules."""

    new_flow: NewFlow = field(default_factory=NewFlow)
    refusals_rising: RefusalsRising = field(default_factory=RefusalsRising)
    unconfigured: Unconfigured = field(default_factory=Unconfigured)
    device_stopped: DeviceStopped = field(default_factory=DeviceStopped)
    lag_growing: LagGrowing = field(default_factory=LagGrowing)
    lineage_incomplete: LineageIncomplete = field(default_factory=LineageIncomplete)
    model_overdue: ModelOverdue = field(default_factory=ModelOverdue)
    feedback_bad: FeedbackBad = field(default_factory=FeedbackBad)
    consent_late: ConsentLate = field(default_factory=ConsentLate)
    no_epoch: NoEpoch = field(default_factory=NoEpoch)
    disk_filling: DiskFilling = field(default_factory=DiskFilling)

    @property
    def window_s(self) -> float:
        """How far back, in time of epochs, any rule looks."""
        return max(
            self.new_flow.shown_s,
            self.refusals_rising.recent_s + self.refusals_rising.before_s,
            self.unconfigured.recent_s,
            self.device_stopped.forgotten_s,
            self.feedback_bad.recent_s,
            self.consent_late.shown_s,
        )


def read_thresholds(path: Path) -> Thresholds:
    """Read a file with a table for each alert rule that is not to be as it is shipped.

    InputError names the file, the table and the name where it is wrong, and what was expected.
    """
    try:
        with path.open("rb") as file:
            text = file.read(limits.ALERT_RULES_BYTES_MAX + 1)
        if len(text) > limits.ALERT_RULES_BYTES_MAX:
            raise InputError(
                f"{path}: found more than {limits.ALERT_RULES_BYTES_MAX} bytes, expected a small file of "
                "alert rules"
            )
        tables = tomllib.loads(text.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as alert rules ({reason(error)})") from None
    except tomllib.TOMLDecodeError as error:
        # The error's message has a line and a column and quotes none of the text.
        raise InputError(f"{path}: is no TOML: {error}") from None
    chosen = Thresholds()
    names = {each.encode_name: each.name for each in fields(Thresholds)}
    for name, table in tables.items():
        if name not in names:
            raise InputError(f"{path}: [{name}]: {unknown(name, names)}")
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name}: found a value, expected a table [{name}]")
        rule = getattr(chosen, names[name])
        chosen = replace(chosen, **{names[name]: replace(rule, **_checked(path, name, rule, table))})
    return chosen


def _checked(path: Path, name: str, rule: Watching, table: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a table; InputError if one has no such name, another type, or is out of range."""
    kinds = get_type_hints(type(rule))
    values = {}
    for key, value in table.items():
        if key not in kinds:
            raise InputError(f"{path}: [{name}] {unknown(key, kinds)}")
        values[key], expected = _value(kinds[key], key, value)
        if values[key] is None:
            raise InputError(f"{path}: [{name}] {key}: found another value, expected {expected}")
    return values


def _value(kind: Any, key: str, value: Any) -> tuple[Any, str]:
    """Return a value as its type wants it, None if it is not so; and what was expected, in words."""
    if kind is bool:
        return (value if isinstance(value, bool) else None), "true or false"
    if kind is int or kind is float:
        most, unit = _range(key)
        number = isinstance(value, int) or (kind is float and isinstance(value, float))
        good = number and not isinstance(value, bool) and 0 <= value <= most
        return (kind(value) if good else None), f"{'a whole number' if kind is int else 'a number'} {unit}"
    listed = isinstance(value, list) and all(
        isinstance(each, str) and len(each.split(" -> ")) == 2 for each in value
    )
    return (
        tuple(value) if listed and isinstance(value, list) else None
    ), 'a list such as ["health -> store"]'


def _range(key: str) -> tuple[float, str]:
    if key in ("bad_min", "free_min"):
        return 1.0, "from 0 to 1, a share"
    unit = "seconds" if key.endswith("_s") else "events" if key.startswith("events") else "times as many"
    return float(_LARGEST), f"from 0 to {_LARGEST:,}, {unit}"
