"""A wearer changes a consent: one event of a device that she wears, made and sent as every other one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from device_sim.files import path_of, read_journal
from device_sim.glasses import CONSENT_STREAM, Glasses
from device_sim.own_consent import OwnConsent
from streams.connection.settings import Broker
from streams.errors import InputError
from streams.events import journal
from streams.events.batch import Batch
from streams.events.codec import codec_of
from streams.events.headers import content_type_of
from streams.events.identity import NAME_PATTERN
from streams.events.shipped import SHIPPED
from streams.limits import TIME_NS_MAX

GIVE, NARROW, WITHDRAW = "give", "narrow", "withdraw"
PURPOSES = ("dpv:RequestedServiceProvision", "dpv:ServicePersonalisation", "ai:ModelTraining")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z][A-Za-z0-9-]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """What `device-sim consent` was asked for; `device` None: the one that the wearer wears."""

    act: str
    wearer: str
    device: str | None
    purposes: tuple[str, ...]
    expires_ns: int | None
    journal: Path
    broker: Broker
    partitions: int


def expiry_ns(text: str) -> int:
    """Read a time with its zone, ns since the epoch; InputError when it is none."""
    try:
        expiry = datetime.fromisoformat(text)
    except ValueError:
        expiry = None
    if expiry is None or expiry.tzinfo is None:
        raise InputError(
            f"--expires: found {text!r}; expected a time with its zone, such as 2027-01-31T12:00:00Z."
        )
    return min((expiry - _EPOCH) // timedelta(microseconds=1) * 1000, TIME_NS_MAX)


async def say(change: Change) -> Batch:
    """Make the change on its device, journal it, send it behind what an earlier run left, and return it.

    Raises
    ------
    InputError
        There is no such device, or what is asked for is no change of that kind.
    UnavailableError
        There is no broker; or it did not acknowledge the change, which is in the journal then.
    """
    _check(change)
    device = change.device or _worn_by(change)
    if not path_of(change.journal, device).is_file():
        raise InputError(
            f"{path_of(change.journal, device)}: found no journal of the device; expected the one that"
            " `device-sim run` wrote. Name another --device, or another --journal."
        )
    glasses = Glasses(change.broker, device, change.wearer, change.journal, partitions=change.partitions)
    try:
        _check_against(change, glasses)
    except BaseException:
        glasses.close_journal()
        raise
    async with glasses:
        return await glasses.give(*change.purposes, expires_ns=change.expires_ns)


def _check(change: Change) -> None:
    for option, name in (("--wearer", change.wearer), ("--device", change.device or "none")):
        if NAME_PATTERN.fullmatch(name) is None:
            raise InputError(f"{option}: found no name; expected lower-case letters, digits and hyphens.")
    for purpose in change.purposes:
        if _PURPOSE.fullmatch(purpose) is None:
            raise InputError(
                f"--purposes: found {purpose!r}; expected words of the policy's vocabulary, such as"
                f" {' '.join(PURPOSES)}."
            )
    if change.act != WITHDRAW and not change.purposes:
        raise InputError(
            "--purposes: found none; expected at least one. `device-sim consent withdraw` leaves none."
        )


def _check_against(change: Change, glasses: Glasses) -> None:
    """Refuse what is no change of its kind, after what the wearer said here or else on another device."""
    own = glasses.consent
    if change.expires_ns is not None and change.expires_ns <= glasses.earliest_ns(CONSENT_STREAM):
        raise InputError(
            "--expires: found a time that is past for the device; expected one after the consent is given."
        )
    now = own if own.number else _consent_elsewhere(change)
    # With a device that is named a wearer withdraws whatever was said on another, which may be lost.
    if not now.purposes and (change.act == NARROW or (change.act == WITHDRAW and change.device is None)):
        raise InputError(
            f"--wearer: the journals in {change.journal} hold nothing that the wearer has given and not"
            f" withdrawn; expected a consent to {change.act}. Give one with `device-sim consent give`."
        )
    if change.act == NARROW and not set(change.purposes) < set(now.purposes):
        raise InputError(
            f"--purposes: found {' '.join(change.purposes)}; expected fewer than the wearer gives now, which"
            f" are {' '.join(now.purposes)}. `device-sim consent give` widens."
        )


def _worn_by(change: Change) -> str:
    devices = [path.stem for path in _worn(change)]
    if len(devices) != 1:
        raise InputError(
            f"--wearer: {change.journal} has {len(devices)} journals of devices that the wearer wears"
            f"{''.join(f' {device}' for device in devices)}; expected one. Name it with --device."
        )
    return devices[0]


def _consent_elsewhere(change: Change) -> OwnConsent:
    """What the wearer said on another device of the directory, the widest of it."""
    elsewhere = (read_journal(path).past.consents.get(change.wearer, OwnConsent()) for path in _worn(change))
    return max(elsewhere, key=lambda consent: len(consent.purposes), default=OwnConsent())


def _worn(change: Change) -> list[Path]:
    """Journals of the devices that the wearer wears: a device's first batch says whose it is."""
    worn = []
    for path in sorted(change.journal.glob("*.jsonl")):
        first = next(journal.sent(path), None)
        if first is None:
            continue
        batch = codec_of(SHIPPED).decode(first.value, 0, content_type=content_type_of(first.headers))
        if batch.wearer_id == change.wearer:
            worn.append(path)
    return worn
