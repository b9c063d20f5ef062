"""Change a wearer's consent: an event of a device of that wearer, made and sent like any other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from device_sim.files import path_of, read_journal
from device_sim.glasses import CONSENT_STREAM, Glasses
from device_sim.own_consent import OwnConsent
from streams.errors import InputError
from streams.events import journal
from streams.events.batch import Batch
from streams.events.codec import codec_of
from streams.events.headers import content_type_of
from streams.events.identity import NAME_PATTERN
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED
from streams.limits import TIME_NS_MAX
from streams.settings.kafka import Broker

GIVE, NARROW, WITHDRAW = "give", "narrow", "withdraw"
PURPOSES = ("dpv:RequestedServiceProvision", "dpv:ServicePersonalisation", "ai:ModelTraining")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z][A-Za-z0-9-]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Change:
    """Arguments of `device-sim consent`; `device` None: the only device of the wearer.

    `kinds` are those that the journals may have events of.
    """

    act: str
    wearer: str
    device: str | None
    purposes: tuple[str, ...]
    expires_ns: int | None
    journal: Path
    broker: Broker
    partitions: int
    kinds: Kinds = SHIPPED


def expiry_ns(text: str) -> int:
    """Parse a time with a time zone to ns since the epoch; InputError if it is malformed."""
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
    """Make the change on its device, journal it, send it after what an earlier run left, and return it.

    Raises
    ------
    InputError
        There is no such device, or the change is not possible.
    UnavailableError
        The broker is absent, or did not acknowledge the change, which is then in the journal.
    """
    _check(change)
    device = change.device or _worn_by(change)
    if not path_of(change.journal, device).is_file():
        raise InputError(
            f"{path_of(change.journal, device)}: found no journal of the device; expected the one that"
            " `device-sim run` wrote. Name another --device, or another --journal."
        )
    glasses = Glasses(
        change.broker, device, change.wearer, change.journal, partitions=change.partitions, kinds=change.kinds
    )
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
    """Refuse a change that is not possible after the wearer's last one here, or else on another device."""
    own = glasses.consent
    if change.expires_ns is not None and change.expires_ns <= glasses.earliest_ns(CONSENT_STREAM):
        raise InputError(
            "--expires: found a time that is past for the device; expected one after the consent is given."
        )
    now = own if own.number else _consent_elsewhere(change)
    # With --device, a wearer can also withdraw what was given on another device, which may be lost.
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
    """The widest consent that the wearer gave on another device in the directory."""
    elsewhere = (
        read_journal(path, change.kinds).past.consents.get(change.wearer, OwnConsent())
        for path in _worn(change)
    )
    return max(elsewhere, key=lambda consent: len(consent.purposes), default=OwnConsent())


def _worn(change: Change) -> list[Path]:
    """Journals of the wearer's devices; the first batch of a journal names the wearer."""
    worn = []
    for path in sorted(change.journal.glob("*.jsonl")):
        first = next(journal.sent(path), None)
        if first is None:
            continue
        batch = codec_of(change.kinds).decode(first.value, 0, content_type=content_type_of(first.headers))
        if batch.wearer_id == change.wearer:
            worn.append(path)
    return worn
