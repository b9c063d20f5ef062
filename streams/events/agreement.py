"""Check that the headers of a record agree with its value.

Consumers of `glasses.zoned` may route by headers without decoding the value, so a wrong header would mislead
them. Error messages name the header and never quote its content.
"""

from __future__ import annotations

import re
from functools import lru_cache

from streams.errors import MalformedError
from streams.events.batch import JSON, Batch
from streams.events.headers import CONTENT_TYPE, ENCODING, RESERVED, RUN, WRITTEN, rfc3339
from streams.events.kinds import event_type
from streams.events.record import Headers
from streams.limits import CAPTURED_HEADERS_MAX, FOREIGN_HEADERS_BYTES_MAX

#: Leaves room for the two headers, zone and label, that the zones stage adds to a captured batch.
_OWN_PREFIXES = ("sightline-", "ce_")
_FOREIGN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REQUIRED = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type", RUN})
#: By these a reader would take what a device says for what a stage said.
_FORGED = RESERVED | {ENCODING}
_KNOWN = _REQUIRED | {"ce_time", CONTENT_TYPE, "traceparent"}
_TRACEPARENT_BYTES = 55


def check_headers(headers: Headers, batch: Batch, *, captured: bool = True) -> None:
    """Compare the headers of a record with the batch that its value holds.

    A captured record may carry a few foreign headers but no tag (zone and label). A record that a stage wrote
    carries only Sightline's headers, the tag among them.

    Raises
    ------
    MalformedError
        A header is missing, repeated, forged, malformed or too long, or it contradicts the value.
    """
    if captured and _as_written(headers, batch):
        return
    by_name, run = dict(headers), batch.run
    if len(by_name) != len(headers):
        raise MalformedError(
            "headers: found a name twice, expected each once, "
            "or readers would disagree about which one counts"
        )
    forged = min(_FORGED & by_name.keys(), default=None) if captured else None
    if forged is not None:
        raise MalformedError(
            f"headers: found {forged}, which only the zones stage may write; send the batch without it"
        )
    if not by_name.keys() >= _REQUIRED:
        raise MalformedError(
            f"headers: {min(_REQUIRED - by_name.keys())} is missing, expected {', '.join(sorted(_REQUIRED))}"
        )
    _compare(by_name, "ce_id", batch.first_id.encode())
    _compare(by_name, "ce_source", batch.source.encode())
    _compare(by_name, "ce_type", event_type(batch.kind))
    _compare(by_name, RUN, b"%d %d %d" % (run.first, run.step, run.count))
    _compare(by_name, "ce_specversion", b"1.0")
    if "ce_time" in by_name:
        _compare(by_name, "ce_time", _ce_time(batch.t0_ns))
    # A missing content type means JSON; a value that is not JSON failed to decode before this check.
    if by_name.get(CONTENT_TYPE, JSON) != batch.content_type:
        raise MalformedError(
            f"headers: {CONTENT_TYPE} disagrees with the value, expected {batch.content_type.decode()}"
        )
    if "traceparent" in by_name and len(by_name["traceparent"] or b"") != _TRACEPARENT_BYTES:
        raise MalformedError(
            f"headers: traceparent is no W3C trace context, expected {_TRACEPARENT_BYTES} characters"
        )
    if captured and not by_name.keys() <= _KNOWN:
        _check_foreign(by_name)
    if not captured and not (by_name.keys() <= _KNOWN | RESERVED and None not in by_name.values()):
        raise MalformedError("headers: found one that no stage writes, expected ours only")


def _as_written(headers: Headers, batch: Batch) -> bool:
    """Whether the headers are exactly those that `envelope` writes, in its order: the common case."""
    if len(headers) != len(WRITTEN):
        return False
    # Unpacking is faster than a loop or a mapping, and this runs for every batch.
    (a, version), (b, own_id), (c, source), (d, kind), (e, time), (f, form), (g, trace), (h, numbers) = (
        headers
    )
    run = batch.run
    return (
        (a, b, c, d, e, f, g, h) == WRITTEN
        and own_id == f"{batch.source}/{batch.stream}/{run.first}".encode()
        and numbers == b"%d 1 %d" % (run.first, run.count)
        and time == _ce_time(batch.t0_ns)
        and source == batch.source.encode()
        and kind == event_type(batch.kind)
        and form == batch.content_type
        and version == b"1.0"
        and trace is not None
        and len(trace) == _TRACEPARENT_BYTES
    )


def _compare(by_name: dict[str, bytes], name: str, expected: bytes) -> None:
    if by_name[name] != expected:
        raise MalformedError(f"headers: {name} disagrees with the value, expected what the envelope says")


@lru_cache(maxsize=1024)
def _to_the_second(t_s: int) -> bytes:
    return rfc3339(t_s * 1_000_000_000)[:19].encode()


def _ce_time(t_ns: int) -> bytes:
    # Equals `rfc3339(t_ns)`. Formatting the date for each batch would cost more than all other comparisons,
    # so the part down to the second is cached.
    t_s, rest_ns = divmod(t_ns, 1_000_000_000)
    return b"%s.%06dZ" % (_to_the_second(t_s), rest_ns // 1000)


def _check_foreign(by_name: dict[str, bytes]) -> None:
    """Check foreign headers. They are forwarded unchanged, so their number and size are bounded."""
    if len(by_name) > CAPTURED_HEADERS_MAX:
        raise MalformedError(f"headers: found {len(by_name)}, expected at most {CAPTURED_HEADERS_MAX}")
    size = 0
    for name in by_name.keys() - _KNOWN:
        if _FOREIGN_NAME.fullmatch(name) is None or name.casefold().startswith(_OWN_PREFIXES):
            raise MalformedError(
                "headers: found a name that only stages write, or none; expected letters, "
                "digits, dots and hyphens"
            )
        if by_name[name] is None:
            raise MalformedError("headers: found one without a value, expected bytes")
        size += len(name) + len(by_name[name])
    if size > FOREIGN_HEADERS_BYTES_MAX:
        raise MalformedError(
            f"headers: found {size} bytes that are not ours, expected at most {FOREIGN_HEADERS_BYTES_MAX}"
        )
