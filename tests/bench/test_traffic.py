"""What is sent in a race, and that peers and the zones stage do the same to it."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from bench import consents
from bench.load import DEVICES
from bench.peers.tagging import Tagging
from bench.traffic import (
    GLASSES,
    GLASSES_BINARY,
    IMU_20,
    IMU_20_BINARY,
    IMU_160_BINARY,
    Traffic,
    devices,
    span_ns,
)
from device_sim.kafka import partition_of
from streams import settings
from streams.errors import MalformedError
from streams.events.batch import MESSAGEPACK, Batch
from streams.events.codec import encode
from streams.events.headers import envelope
from streams.events.record import Fetch, StoredRecord
from streams.models.registry import ModelTable
from streams.pipeline.bootstrap import first_records
from streams.pipeline.glasses import GlassesCore
from streams.pipeline.side_inputs import SideInputs
from streams.policy.load import load
from streams.policy.versions import PolicyVersions
from streams.topology import CAPTURED, MODELS, PARTITIONS_DEFAULT, ZONED


@pytest.mark.parametrize(
    "traffic", [IMU_20, IMU_160_BINARY, GLASSES, GLASSES_BINARY], ids=lambda traffic: traffic.name
)
def test_a_traffic_has_consecutive_numbers_and_times_a_stream(traffic: Traffic) -> None:
    # More than two sessions of each device of `glasses`, in two calls as a sender takes them.
    number = 2 * 2 * 650
    sent = [*traffic.batches(0, 1000, 10**18, 2), *traffic.batches(1000, number - 1000, 10**18, 2)]
    streams: dict[tuple[str, str], list[Batch]] = {}
    for batch in sent:
        assert all(len(values) == batch.run.count for values in batch.columns.values())
        streams.setdefault((batch.source, batch.stream), []).append(batch)
    for some in streams.values():
        assert [event for batch in some for event in batch.run] == list(
            range(some[0].run.first, some[-1].run.last + 1)
        )
        assert all(before.last_ns < after.t0_ns for before, after in itertools.pairwise(some))
    assert len(sent) == number
    assert sum(batch.run.count for batch in sent) / number == pytest.approx(
        traffic.events_per_batch, rel=0.02
    )
    assert max(batch.last_ns for batch in sent) <= 10**18 + span_ns(traffic, number, 2)


def test_both_encodings_say_the_same_of_the_same_events() -> None:
    for plain, packed in ((IMU_20, IMU_20_BINARY), (GLASSES, GLASSES_BINARY)):
        types = Counter[tuple[str, bytes]]()
        both = zip(plain.batches(0, 200, 0, 2), packed.batches(0, 200, 0, 2), strict=True)
        for of_json, of_bytes in both:
            assert (of_json.first_id, of_json.run, of_json.t0_ns) == (
                of_bytes.first_id,
                of_bytes.run,
                of_bytes.t0_ns,
            )
            assert len(encode(of_bytes)) < len(encode(of_json)) or of_json.kind not in {"imu", "gaze"}
            if of_bytes.content_type == MESSAGEPACK:
                for name, values in of_json.columns.items():
                    assert of_bytes.columns[name] == pytest.approx(values, rel=1e-6)
            else:
                assert of_bytes.columns == of_json.columns
            types[of_bytes.kind, of_bytes.content_type] += 1
        assert {kind for kind, content_type in types if content_type == MESSAGEPACK} <= {"imu", "gaze"}
        assert types["imu", MESSAGEPACK] > 0


def test_glasses_have_the_rates_of_real_ones_and_people_who_ask() -> None:
    minute = list(GLASSES.batches(0, round(60 * GLASSES.batches_per_s), 0, 1))
    events = Counter[str]()
    for batch in minute:
        events[batch.kind] += batch.run.count
    assert events["imu"] == 800 * 60
    assert events["gaze"] == pytest.approx(200 * 60, rel=0.05), "recorded with its own drop-outs"
    assert events["voice_query"] == 10
    assert events["feedback"] >= 5
    targets = [
        batch.columns["target"][0] for batch in GLASSES.batches(0, 2000, 0, 1) if batch.kind == "feedback"
    ]
    assert len(set(targets)) == len(targets), "each answer gets its feedback once, in whichever session"


async def test_all_of_a_traffic_passes_the_zones_and_whoever_tags_records_says_the_same() -> None:
    """Equal work: the zones stage, of a fetch, and a peer, of single records, say the same to the byte."""
    assert not any(b"ModelTraining" in (one.value or b"") for one in consents.said(load(settings.POLICY)))
    tagging, policy_now, models = Tagging(), load(settings.POLICY), ModelTable()
    for outgoing in first_records(policy_now, 10**18):
        if outgoing.topic == MODELS:
            models.learn(outgoing.key, outgoing.value)
    inputs = SideInputs(PolicyVersions.of(policy_now), models.now, consents.known(policy_now).view())
    for traffic in (IMU_20, IMU_20_BINARY, GLASSES, GLASSES_BINARY):
        sent = list(traffic.batches(0, 600, 10**18, DEVICES))
        records = [
            StoredRecord(at, 10**12 + 1000, batch.source.encode(), encode(batch), envelope(batch))
            for at, batch in enumerate(sent)
        ]
        core = GlassesCore()
        outcome = await core.process(
            core.empty(0), Fetch(CAPTURED, 0, records), inputs, silent=False, poisoned={}
        )
        zoned = [one for one in outcome.outputs if one.topic == ZONED]
        assert [(one.key, one.value) for one in zoned] == [(one.key, one.value) for one in records]
        for record, made in zip(records, zoned, strict=True):
            added = tagging.headers(record.key or b"", record.value or b"", record.headers, record.timestamp)
            assert list(made.headers) == [*record.headers, *added]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda key, value, headers: (b"other", value, headers), "key"),
        (lambda key, value, headers: (key, value[:-9], headers), "JSON"),
        (lambda key, value, headers: (key, value.replace(b'"n":20', b'"n":21'), headers), "n"),
        (lambda key, value, headers: (key, value.replace(b'"home"', b'"moon"'), headers), "context"),
        (lambda key, value, headers: (key, value.replace(b'"w0"', b'"w1"'), headers), "pairing"),
        (lambda key, value, headers: (key, value, headers[1:]), "headers"),
        (lambda key, value, headers: (key, value, [*headers, ("sightline-zone", b"public")]), "headers"),
    ],
)
def test_a_peer_refuses_what_the_zones_refuse(broken: Any, message: str) -> None:
    [batch] = IMU_20.batches(0, 1, 10**18, DEVICES)
    key, value, headers = broken(batch.source.encode(), encode(batch), envelope(batch))
    with pytest.raises(MalformedError, match=message):
        Tagging().headers(key, value, headers, 10**12 + 1000)


@pytest.mark.parametrize("number", [1, 8, 10, 1000])
def test_devices_have_names_of_their_own_and_fill_the_partitions_evenly(number: int) -> None:
    names = devices(number)
    assert len(set(names)) == number
    counts = [
        sum(partition_of(name, PARTITIONS_DEFAULT) == partition for name in names)
        for partition in range(PARTITIONS_DEFAULT)
    ]
    assert max(counts) - min(counts) <= 1
