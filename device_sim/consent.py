"""A wearer changes a consent: one event of a device that she wears, made and sent as every other one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from device_sim.device import Captured, Past
from device_sim.files import Journal, path_of, read_journal
from device_sim.incarnations import named, next_incarnations
from device_sim.kafka import KafkaLink
from device_sim.link import NONE, Link
from device_sim.outbox import Outbox
from device_sim.own_consent import GIVEN, KIND, WITHDRAWN, OwnConsent
from device_sim.runner import FLUSH_WAIT_S
from streams import clock
from streams.brokers import Broker
from streams.errors import InputError, UnavailableError
from streams.events import journal
from streams.events.batch import Batch, Context
from streams.events.codec import codec_of
from streams.events.headers import content_type_of
from streams.events.identity import NAME_PATTERN
from streams.events.runs import Run
from streams.events.shipped import SHIPPED
from streams.limits import TIME_NS_MAX

GIVE, NARROW, WITHDRAW = "give", "narrow", "withdraw"
PURPOSES = ("dpv:RequestedServiceProvision", "dpv:ServicePersonalisation", "ai:ModelTraining")
_PURPOSE = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z][A-Za-z0-9-]*")
_STREAM = "consent-change"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What a device says about its surroundings that has said nothing yet.
_QUIET_HOME = Context("home", "nobody", minor_near=False, capture_light=False, worn=True, consent=0)


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
    written = Journal(change.journal, device)
    try:
        return await _send(change, device, written)
    finally:
        written.close()


async def _send(change: Change, device: str, written: Journal) -> Batch:
    past = written.earlier.past
    _check_against(change, past.consents.get(change.wearer, OwnConsent()))

    def acknowledged(sent: journal.Sent, partition: int, offset: int, appended_ns: int | None) -> None:
        outbox.acknowledged(sent, partition, offset, appended_ns)

    link = KafkaLink(change.broker, change.partitions, [device], acknowledged, lambda _answer: None)
    outbox = Outbox(written, Link(NONE, 0, device), link.send)
    try:
        await link.start()
        incarnation = past.incarnation
        if not past.next_numbers:
            incarnation = (await next_incarnations(link, [device]))[device]
        batch = _batch(change, device, past, named(_STREAM, incarnation))
        outbox.resend()
        outbox.write([Captured(batch, ())], clock.now_ns())
        outbox.forward(0, clock.now_ns())
        if await link.flush(FLUSH_WAIT_S):
            raise UnavailableError(
                f"{change.broker} did not acknowledge the change within {FLUSH_WAIT_S:g} s. It is in"
                f" {written.path}, and the next `device-sim run` or `consent` on it sends it."
            )
    finally:
        await link.close()
    return batch


def _batch(change: Change, device: str, past: Past, stream: str) -> Batch:
    own = past.consents.get(change.wearer, OwnConsent())
    t_ns = max(clock.now_ns(), past.last_capture_ns + 1_000_000)
    if change.expires_ns is not None and change.expires_ns <= t_ns:
        raise InputError(
            "--expires: found a time that is past for the device; expected one after the consent is given."
        )
    columns: dict[str, list[Any]] = {
        "consent": [own.number + 1],
        "status": [WITHDRAWN if change.act == WITHDRAW else GIVEN],
        "purposes": [" ".join(change.purposes)],
        "principal": [None],
        "expires_ns": [change.expires_ns],
    }
    return Batch(
        kind=KIND,
        source=device,
        wearer_id=change.wearer,
        session_id=f"s{past.sessions}",
        stream=stream,
        run=Run(past.next_numbers.get(stream, 0), 1, 1),
        t0_ns=t_ns,
        dt_ns=0,
        origin="live",
        context=replace(past.context or _QUIET_HOME, consent=own.named),
        columns=columns,
    )


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


def _check_against(change: Change, own: OwnConsent) -> None:
    """Refuse what is no change of its kind, after what the wearer said here or else on another device."""
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
