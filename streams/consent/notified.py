"""`glasses.notices`: notices and receipts of consent for devices to show, and which they have shown.

Each record is of one event and has its id in the key, so that compaction keeps what each wearer was told, and
no key names one. Its append time, which the broker sets, is when it was delivered or acknowledged. That it
was delivered says that it lies there for the device; only the device knows whether anybody was shown it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson
from msgspec import DecodeError, Struct, ValidationError, json, structs

from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.record import Outgoing, Received, stamp_ns
from streams.topology import NOTICES

_VERSION = 1
_NOTICE, _ACKNOWLEDGED, _RECEIPT = "notice", "acknowledged", "receipt"


class Notified(Struct, frozen=True):
    """When a notice was delivered to a device and when the device said that it was shown (ns, 0: never)."""

    delivered_ns: int = 0
    acknowledged_ns: int = 0


#: Device, wearer, and the version of a notice.
NoticeKey = tuple[str, str, str]


class _Named(Struct):
    device: str
    wearer: str
    version: str
    event: str


class _Value(Struct):
    """The part of a value that tells who was told what; a receipt has neither."""

    v: int
    notice: _Named | None = None
    acknowledged: _Named | None = None


def notice_record(
    batch: Batch, partition: int, *, version: str, policy: str, controller: str, lines: Sequence[str]
) -> Outgoing:
    """Record that delivers a notice; `batch` is the event at which it was due."""
    content = {"policy": policy, "controller": controller, "lines": lines}
    return _record(batch, partition, _NOTICE, {**_named(batch, version), **content})


def acknowledged_record(batch: Batch, partition: int, version: str) -> Outgoing:
    """Record that a device has shown a notice, as it says in the event `batch`."""
    return _record(batch, partition, _ACKNOWLEDGED, _named(batch, version))


def receipt_record(batch: Batch, partition: int, receipt: dict[str, object]) -> Outgoing:
    """Record with the receipt of a word, which the event `batch` states."""
    return _record(batch, partition, _RECEIPT, receipt)


def _named(batch: Batch, version: str) -> dict[str, object]:
    return {
        "device": batch.source,
        "wearer": batch.wearer_id,
        "version": version,
        "event": batch.first_id,
    }


def _record(batch: Batch, partition: int, what_for: str, value: dict[str, object]) -> Outgoing:
    return Outgoing(
        NOTICES,
        partition,
        f"{batch.first_id}/{what_for}".encode(),
        orjson.dumps({"v": _VERSION, what_for: value}),
        [("content-type", b"application/json")],
        batch.appended_ns // 1_000_000,
    )


def notified_of(records: Iterable[Received]) -> tuple[dict[NoticeKey, Notified], int]:
    """What the records of `glasses.notices` tell of notices, and how many no zones stage can have written.

    What was delivered again has to be acknowledged again.
    """
    notified: dict[NoticeKey, Notified] = {}
    strange = 0
    for record in records:
        try:
            value = _read(record)
        except MalformedError:
            strange += 1
            continue
        if (told := value.notice) is not None:
            notified[told.device, told.wearer, told.version] = Notified(stamp_ns(record))
        if (shown := value.acknowledged) is not None:
            key = (shown.device, shown.wearer, shown.version)
            notified[key] = structs.replace(notified.get(key, Notified()), acknowledged_ns=stamp_ns(record))
    return notified, strange


def _read(record: Received) -> _Value:
    try:
        value = json.decode(record.value or b"", type=_Value)
    except (DecodeError, ValidationError, UnicodeDecodeError):
        raise MalformedError("notice: found something else, expected what the zones stage writes") from None
    keys = {
        f"{named.event}/{name}".encode()
        for name, named in ((_NOTICE, value.notice), (_ACKNOWLEDGED, value.acknowledged))
        if named is not None
    }
    if value.v != _VERSION or not keys <= {record.key}:
        raise MalformedError("notice: its version or key is another, expected what the zones stage writes")
    return value
