"""Names that collide: nothing of a device is called like what is derived, trained or an operator's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.assistant import requests
from streams.events.batch import Batch
from streams.events.identity import NAME_PATTERN, STREAM_PATTERN, derived_stream
from streams.events.shipped import SHIPPED
from streams.models import version
from streams.processing import shipped as operators
from streams.topology import ERASURE_KEY, OPERATOR_KEY, PAIRING_KEY, RESERVED_SOURCES, SINGLE_STREAMS, STAGES
from streams.training import seed
from streams.zones.names import derived_streams
from streams.zones.names import reserved as reserved_among
from tests import build

CAPTURED = [kind.name for kind in SHIPPED.values() if kind.captured]
RESERVED_STREAMS = derived_streams(SHIPPED)
NAMES = st.from_regex(NAME_PATTERN, fullmatch=True)


def reserved(batch: Batch) -> str:
    return reserved_among(batch, derived_streams(SHIPPED))


def named(stream: str, kind: str = "device_state", source: str = "g1", wearer: str = "w1") -> Batch:
    return replace(build.batch(kind, stream, 0, 1, source=source), wearer_id=wearer)


def test_the_topology_names_every_stream_that_is_derived_and_every_source_that_is_no_device() -> None:
    made = {kind.name for kind in SHIPPED.values() if not kind.captured and kind.name != "model"}
    assert {name for stage in STAGES for name in stage.streams} == set(RESERVED_STREAMS)
    assert set(RESERVED_STREAMS) == made == {name.replace("-", "_") for name in RESERVED_STREAMS}
    assert {operator.name for operator in operators.SHIPPED_OPERATORS.values()} < set(RESERVED_STREAMS)
    assert set(RESERVED_SOURCES) == {version.SOURCE, seed.SOURCE, PAIRING_KEY, OPERATOR_KEY, ERASURE_KEY}


@pytest.mark.parametrize("end", ["", "~2", "-imu-left", "-erasure-request~3"])
@pytest.mark.parametrize("name", RESERVED_STREAMS)
def test_a_stream_called_like_a_derived_one_is_refused(name: str, end: str) -> None:
    assert reserved(named(name + end)).startswith("stream: found the name of a derived stream")


@pytest.mark.parametrize("name", ["training", "pairing", "operator"])
def test_a_device_or_wearer_called_like_something_of_ours_is_refused(name: str) -> None:
    assert reserved(named("imu-right", source=name)).startswith("device_id: found a reserved name")
    assert reserved(named("imu-right", wearer=name)).startswith("wearer_id: found a reserved name")
    assert reserved(named("intent-model", source=name)).startswith("device_id:")


@pytest.mark.parametrize("name", ["placebo", "answers", "speeches", "imu-right", "my-answer", "trainings"])
def test_a_name_that_only_resembles_one_is_taken(name: str) -> None:
    assert reserved(named(name, source=name, wearer=name)) == ""


def test_a_stream_leaves_room_for_the_names_of_those_derived_from_it() -> None:
    assert reserved(named("x" * 53)) == reserved(named("x" * 53 + "~2")) == ""
    assert reserved(named("x" * 54)).startswith("stream: found a name of 54 characters, expected at most 53")


@given(NAMES, NAMES, st.from_regex(STREAM_PATTERN, fullmatch=True), st.sampled_from(CAPTURED))
def test_what_is_derived_from_a_stream_that_is_taken_has_a_name_that_no_stream_may_have(
    source: str, wearer: str, stream: str, kind: str
) -> None:
    taken = reserved(named(stream, kind, source, wearer)) == ""
    derived = {
        requests.stream(stream),
        *(operator.stream(stream) for operator in operators.SHIPPED_OPERATORS.values()),
    }
    derived |= {derived_stream(name, stream) for name in RESERVED_STREAMS}
    for name in derived:
        assert not taken or STREAM_PATTERN.fullmatch(name), "a name that no identity can have"
        assert reserved(named(name))


def test_no_two_events_derived_from_streams_that_are_taken_have_one_identity() -> None:
    """Two streams of every kind, with the same numbers: whatever is taken derives events of its own."""
    columns: dict[str, dict[str, list[Any]]] = {
        "voice_query": {"text": ["wake me up at seven am"]},
        "feedback": {"target": ["g1/answer/0"], "form": ["thumb"], "chosen_intent": ["alarm_set"]},
    }
    batches = []
    for kind in CAPTURED:
        for stream in (kind.replace("_", "-"), f"{kind.replace('_', '-')}-b"):
            single = kind in {*columns, "consent_change", "erasure_request"}
            count, said = (1 if single else 4000), columns.get(kind)
            if kind == "consent_change":
                said = {"consent": [1], "status": ["dpv:ConsentGiven"]}
                said["purposes"] = [
                    "dpv:RequestedServiceProvision dpv:ServicePersonalisation ai:ModelTraining"
                ]
            made = build.batch(kind, stream, 0, count, columns=said, t0_ns=build.T0_NS)
            batches.append(made)
    batches.sort(key=lambda one: (one.kind == "feedback", one.kind != "consent_change"))
    refused = {batch.stream for batch in batches if reserved(batch)}
    assert refused == {f"{stream}-b" for stream in SINGLE_STREAMS.values()}
    taken = [batch for batch in batches if batch.stream not in refused]
    tables = build.lineage(build.process(build.core(), [build.fetch(taken)])[0])
    captured = {batch.stream for batch in taken}
    found = [
        (row["stream"], row["first"] + i * row["step"])
        for row in tables["events"]
        if row["stream"] not in captured
        for i in range(row["count"])
    ]
    assert len(found) == len(set(found))
    assert {stream for stream, _ in found} >= {"activity-imu", "answer", "answer-erasure-request-b"}
    assert all(reserved(named(stream)) for stream, _ in found)
