"""A collector of OpenTelemetry for tests: takes spans over HTTP, as OTLP says, and keeps them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """A span as it came, with ids in hexadecimal and links as (trace, span)."""

    name: str
    trace: str
    own: str
    parent: str
    kind: int
    failed: bool
    begin_ns: int
    end_ns: int
    attributes: Mapping[str, str | int]
    links: tuple[tuple[str, str], ...]
    events: int


class Collector:
    """What has come so far; `address` is what `--traces-to` takes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Span] = []

    def take(self, body: bytes) -> None:
        """Add the spans of one request."""
        request = ExportTraceServiceRequest.FromString(body)
        for each in (
            span
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ):
            attributes: dict[str, str | int] = {}
            for pair in each.attributes:
                value = pair.value
                is_text = value.HasField("string_value")
                attributes[pair.key] = value.string_value if is_text else value.int_value
            self.spans.append(
                Span(
                    each.name,
                    each.trace_id.hex(),
                    each.span_id.hex(),
                    each.parent_span_id.hex(),
                    each.kind,
                    each.status.code == 2,
                    each.start_time_unix_nano,
                    each.end_time_unix_nano,
                    attributes,
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in each.links),
                    len(each.events),
                )
            )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()
