"""Contents of glasses.consents before a load begins: paired devices, and a consent of each wearer.

It is as if each device had sent its consent in its first event, so all subjects of a race get the same
batches. Nobody consents to training, but where that is measured: at a thousand times the normal speed,
fitting models would take the processors from what is measured.
"""

from __future__ import annotations

import orjson

from bench.load import DEVICES
from bench.traffic import devices
from streams.consent.record import learn_consent, pairing_record, word_key
from streams.consent.view import Consents
from streams.consent.words import GIVEN
from streams.events.record import Outgoing, StoredRecord
from streams.kafka.publish import publish_now
from streams.policy.policy import Policy
from streams.topology import CONSENTS

_TRAINING = "ai:ModelTraining"
_AT_ONCE = 250


def said(policy: Policy, device_count: int = DEVICES, *, training: bool = False) -> list[Outgoing]:
    """Records of glasses.consents: each device of the load is paired, and its wearer consents once."""
    without = set[str]() if training else {_TRAINING}
    purposes, records = sorted(set(policy.vocabulary.purposes) - without), list[Outgoing]()
    for turn, device in enumerate(devices(device_count)):
        wearer, event = f"w{turn}", f"{device}/consent-change/0"
        word = {"device": device, "incarnation": 1, "number": 1, "status": GIVEN, "purposes": purposes}
        value = {"v": 2, "wearer": wearer, "event": event, **word, "expires_ns": 0, "at_ns": 0}
        records.append(pairing_record(device, wearer, bound=True))
        records.append(Outgoing(CONSENTS, 0, word_key(event), orjson.dumps(value), (), 0))
    return records


def known(policy: Policy, device_count: int = DEVICES, *, training: bool = False) -> Consents:
    """The same records, as a worker has read them."""
    found = Consents()
    for offset, one in enumerate(said(policy, device_count, training=training)):
        learn_consent(found, StoredRecord(offset, 0, one.key, one.value))
    return found


async def publish(
    broker: str, policy: Policy, device_count: int = DEVICES, *, training: bool = False
) -> None:
    """Publish the records, before any worker starts."""
    records = said(policy, device_count, training=training)
    # A transaction has to end in time, also on a busy machine.
    for at in range(0, len(records), _AT_ONCE):
        await publish_now(broker, records[at : at + _AT_ONCE])
