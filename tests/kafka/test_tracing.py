"""Spans of a fetch: a link to each of its records, no text of an error, nothing without a collector."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.events.headers import traceparent
from streams.events.record import Fetch, Headers
from streams.kafka.tracing import PROCESS
from tests.collector import collecting


class Record(NamedTuple):
    offset: int
    headers: Headers
    timestamp: int = 0
    key: bytes | None = b"g1"
    value: bytes | None = b""


def fetch(count: int) -> Fetch:
    return Fetch(
        "glasses.captured",
        3,
        [
            Record(offset, [("ce_id", b"x"), ("traceparent", traceparent(f"root {offset}", f"own {offset}"))])
            for offset in range(7, 7 + count)
        ],
    )


def test_a_fetch_is_a_span_with_a_link_to_every_record_and_its_parts_are_below_it() -> None:
    with collecting() as collector:
        with PROCESS.exporting(collector.address), PROCESS.fetch("glasses", given := fetch(1000)):
            with PROCESS.step("compute"):
                assert PROCESS.around("zones", len)([1, 2]) == 2
            with PROCESS.step("transaction"):
                pass
        spans = {span.name: span for span in collector.spans}
    whole = spans["process glasses.captured"]
    assert {name: span.parent for name, span in spans.items()} == {
        whole.name: "",
        "compute": whole.own,
        "zones": spans["compute"].own,
        "transaction": whole.own,
    }
    expected = [dict(record.headers)["traceparent"].decode().split("-")[1:3] for record in given.records]
    assert [list(link) for link in whole.links] == expected
    assert whole.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "glasses.captured",
        "messaging.destination.partition.id": "3",
        "messaging.batch.message_count": 1000,
        "sightline.agent": "glasses",
        "sightline.offset.first": 7,
        "sightline.offset.next": 1007,
    }
    assert spans["compute"].begin_ns <= spans["zones"].begin_ns <= spans["compute"].end_ns


@pytest.mark.parametrize(
    "header", [None, b"", b"00", b"00-xx-yy-01", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"\xff" * 55]
)
def test_a_record_whose_trace_cannot_be_read_has_no_link(header: bytes | None) -> None:
    headers = [] if header is None else [("traceparent", header)]
    with collecting() as collector:
        with (
            PROCESS.exporting(collector.address),
            PROCESS.fetch("glasses", Fetch("t", 0, [Record(0, headers)])),
        ):
            pass
        assert [span.links for span in collector.spans] == [()]


def test_of_an_error_only_the_type_is_told() -> None:
    with collecting() as collector:
        with PROCESS.exporting(collector.address), pytest.raises(ValueError, match="w1 said"):  # noqa: SIM117
            with PROCESS.fetch("glasses", fetch(1)):
                raise ValueError("w1 said")
        (span,) = collector.spans
    assert (span.failed, span.attributes["error.type"], span.events) == (True, "ValueError", 0)
    assert "w1" not in str(span)


def test_a_collector_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        with (
            PROCESS.exporting(f"http://127.0.0.1:{deaf.getsockname()[1]}"),
            PROCESS.fetch("glasses", fetch(1)),
        ):
            pass
        assert "Failed to export spans batch due to timeout" in caplog.text


def test_without_a_collector_nothing_is_loaded_or_made() -> None:
    code = """if True:
        import sys
        import streams.worker.bootstrap
        from streams.kafka.tracing import PROCESS
        assert PROCESS.fetch("glasses", None) is PROCESS.step("compute")
        assert PROCESS.around("zones", sum) is sum
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:4318",
        "ftp://host",
        "http://",
        "http://me:secret@host:1",
        "http://h:99999",
        "http://h?k=secret",
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_starts(url: str) -> None:
    result = CliRunner().invoke(main, ["worker", "--broker", "127.0.0.1:9", "--traces-to", url])
    assert (result.exit_code, "found no address of a collector" in result.output) == (2, True)
    assert "secret" not in result.output
