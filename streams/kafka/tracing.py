"""Spans of what a worker does with a fetch, for a collector of OpenTelemetry; without one none are made.

A fetch is one span, of the kind *consumer*, with a link to every record in it: to the trace and the span of
its header `traceparent`. Below it are the calls that process it and its transaction. Attributes follow
OpenTelemetry's semantic conventions for messaging; they hold topics, partitions, offsets and counts, never an
id of an event, a device or a wearer. Trace ids are digests of the ids of events (`streams.events.headers`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from streams import limits
from streams.events.record import Fetch, Received

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Tracer

P = ParamSpec("P")
T = TypeVar("T")
_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()
_PATH = "/v1/traces"


class Tracing:
    """Where the spans of a process go: nowhere, until `exporting` is entered."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None

    @contextlib.contextmanager
    def exporting(self, url: str) -> Iterator[None]:
        """Send spans to a collector while the block runs, as OTLP over HTTP.

        Delivery: at most once. Spans wait in memory, TRACES_QUEUE_MAX at most; what a collector does not take
        within TRACES_WAIT_S is dropped, and the log says so. The end of the block takes twice that at most.
        Variables of the environment that begin with OTEL_ apply: sampler, headers, certificates.
        """
        # Only who traces has these packages.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        named = {"service.name": "sightline-worker", "service.version": version("sightline")}
        provider = TracerProvider(
            resource=Resource.create(named),
            # OpenTelemetry's own 128 would leave out most batches of a fetch.
            span_limits=SpanLimits(max_links=limits.FETCH_RECORDS_MAX),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=url.rstrip("/") + _PATH, timeout=limits.TRACES_WAIT_S)
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=limits.TRACES_QUEUE_MAX,
                max_export_batch_size=limits.TRACES_QUEUE_MAX,
                schedule_delay_millis=limits.TRACES_INTERVAL_S * 1000,
            )
        )
        self._tracer = provider.get_tracer("sightline")
        try:
            yield
        finally:
            self._tracer = None
            provider.shutdown()

    def fetch(self, agent: str, fetch: Fetch) -> AbstractContextManager[None]:
        """The span of a fetch, for the block that processes it."""
        if self._tracer is None:
            return _NOTHING
        # OpenTelemetry's conventions for messaging, version 1.45: https://opentelemetry.io/docs/specs/semconv/messaging/
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": fetch.topic,
            "messaging.destination.partition.id": str(fetch.partition),
            "messaging.batch.message_count": len(fetch.records),
            "sightline.agent": agent,
            "sightline.offset.first": fetch.records[0].offset,
            "sightline.offset.next": fetch.next_offset,
        }
        links = [link for record in fetch.records if (link := _link(record)) is not None]
        return _spanned(self._tracer, f"process {fetch.topic}", attributes, links)

    def step(self, name: str) -> AbstractContextManager[None]:
        """A span of a part of a fetch, below the one that is open."""
        return _NOTHING if self._tracer is None else _spanned(self._tracer, name, {}, ())

    def around(self, name: str, call: Callable[P, T]) -> Callable[P, T]:
        """Return a function that does the same in a span of its own; `call` itself if nothing is traced."""
        if self._tracer is None:
            return call

        def spanned(*arguments: P.args, **named: P.kwargs) -> T:
            with self.step(name):
                return call(*arguments, **named)

        return spanned


@contextlib.contextmanager
def _spanned(
    tracer: Tracer, name: str, attributes: Mapping[str, str | int], links: list[Link] | tuple[()]
) -> Iterator[None]:
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - as in `exporting`

    kind = SpanKind.CONSUMER if attributes else SpanKind.INTERNAL
    # Of an error only its type is told, because its text may quote a value.
    with tracer.start_as_current_span(
        name,
        kind=kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def _link(record: Received) -> Link | None:
    """Link to the trace of a record; None if its header is no W3C trace context."""
    from opentelemetry.trace import Link, SpanContext, TraceFlags  # noqa: PLC0415 - as in `exporting`

    header = next((value for name, value in record.headers if name == "traceparent"), None)
    parts = (header or b"").split(b"-")
    try:
        trace, span, flags = (int(part, 16) for part in parts[1:4])
        context = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags))
    except ValueError:
        return None
    return Link(context) if context.is_valid else None


#: The tracing of this process.
PROCESS = Tracing()
