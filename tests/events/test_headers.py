"""Headers are what the standards say, by the standards' own software."""

from __future__ import annotations

import re

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat

from streams.errors import MalformedError
from streams.events import agreement
from streams.events.agreement import check_headers
from streams.events.batch import JSON, MESSAGEPACK
from streams.events.codec import encode
from streams.events.headers import CONTENT_TYPE, content_type_of, envelope, traceparent
from streams.events.identity import EventId
from streams.limits import HEADERS_MAX
from streams.topology import LINEAGE, REJECTED
from tests import build


def test_official_package_reads_our_headers() -> None:
    made = build.batch(first=40)
    record = build.record(made, 0)
    event = from_binary_event(
        KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value), JSONFormat()
    )
    assert dict(record.headers)["ce_specversion"] == b"1.0"
    assert event.get_id() == "g1/imu-right/40"
    assert event.get_type() == "glasses.imu.v1"
    assert event.get_source() == "g1"
    time = event.get_time()
    assert time is not None
    assert round(time.timestamp() * 1000) == made.t0_ns // 1_000_000
    assert event.get_datacontenttype() == "application/json"


def test_every_output_has_at_most_12_headers_and_a_w3c_traceparent() -> None:
    records, _ = build.process(build.core(), [build.fetch([build.imu(1.0, i * 20, 20) for i in range(6)])])
    for record in records:
        assert len(record.headers) <= HEADERS_MAX
        names = dict(record.headers)
        if record.topic not in (LINEAGE, REJECTED):
            assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", names["traceparent"])


def test_a_derived_event_continues_the_trace_of_its_first_parent() -> None:
    captured = dict(envelope(build.batch(first=100)))["traceparent"]
    records, _ = build.process(
        build.core(), [build.fetch([build.imu(1.0, 100 + i * 20, 20) for i in range(5)])]
    )
    derived = [dict(record.headers)["traceparent"] for record in records if record.topic == "glasses.derived"]
    assert [trace.split(b"-")[1] for trace in derived] == [captured.split(b"-")[1]]
    assert derived[0] == traceparent("g1/imu-right/100", "g1/activity/100")


@pytest.mark.parametrize(
    "text", ["g1/imu-right/0", "g1/imu-right~2/17", "g1/activity/12000.1", "training/intent-model/3"]
)
def test_identity_round_trip(text: str) -> None:
    assert str(EventId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "g1",
        "g1/imu-right",
        "g1/imu-right/",
        "g1/imu-right/01",
        "G1/imu/1",
        "g1/imu/1.0",
        "g1/imu/-1",
        "g1/imu/1/2",
        "g1/imu/99999999999999999999",
    ],
)
def test_identity_of_another_form(text: str) -> None:
    with pytest.raises(MalformedError, match="expected source/stream/number"):
        EventId.parse(text)


@pytest.mark.parametrize("packed", [False, True])
def test_headers_of_a_well_kept_device_are_compared_in_one_look(
    packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build.CODEC.packed(build.batch(first=40)) if packed else build.batch(first=40)
    monkeypatch.setattr(agreement, "_compare", pytest.fail)
    check_headers(envelope(made), made)


@pytest.mark.parametrize(
    "header", [None, JSON, b"text/plain", b"application/vnd.msgpack; charset=utf-8", b""]
)
def test_a_packed_value_says_that_it_is_one(header: bytes | None) -> None:
    made = build.CODEC.packed(build.batch())
    headers = [(name, value) for name, value in envelope(made) if name != CONTENT_TYPE]
    headers += [] if header is None else [(CONTENT_TYPE, header)]
    with pytest.raises(
        MalformedError, match="content-type disagrees with the value, expected application/vnd"
    ):
        check_headers(headers, made)
    with pytest.raises(MalformedError, match="value: found bytes that are not JSON"):
        build.CODEC.decode(encode(made), 0, content_type=content_type_of(headers))


def test_a_value_of_json_does_not_say_that_it_is_packed() -> None:
    made = build.batch()
    headers = [*(pair for pair in envelope(made) if pair[0] != CONTENT_TYPE), (CONTENT_TYPE, MESSAGEPACK)]
    with pytest.raises(
        MalformedError, match="content-type disagrees with the value, expected application/json"
    ):
        check_headers(headers, made)
    with pytest.raises(MalformedError, match="value: found bytes that are not MessagePack"):
        build.CODEC.decode(encode(made), 0, content_type=content_type_of(headers))
