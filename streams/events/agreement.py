"""Whether the headers of a record say what its value says.

Whoever reads `glasses.zoned` decides by headers without opening the value, so a header that says something
else would be believed. Messages name headers, never what was found in them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.headers import RESERVED, RUN, rfc3339
from streams.events.kinds import event_type
from streams.events.record import Headers
from streams.limits import FOREIGN_HEADERS_BYTES_MAX, HEADERS_MAX

#: Zone and label are added to what a device sends.
CAPTURED_HEADERS_MAX = HEADERS_MAX - 2
_OWN_PREFIXES = ("sightline-", "ce_")
_FOREIGN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REQUIRED = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_type", RUN})
_KNOWN = _REQUIRED | {"ce_time", "content-type", "traceparent"}
_TRACEPARENT_BYTES = 55


def check_headers(headers: Headers, batch: Batch, *, captured: bool = True) -> None:
    """Compare the headers of a record with the batch that its value holds.

    A captured one may bring a few headers that are not ours, and no tag; one that a stage wrote has ours,
    with its tag.

    Raises
    ------
    MalformedError
        A header is missing, repeated, forged, no text, too long, or says something else than the value.
    """
    by_name, run = dict(headers), batch.run
    # What every batch of a well-kept device is, in one look; the rest says which header is at fault.
    if (
        captured
        and len(headers) == len(_KNOWN) == len(by_name)
        and by_name.get("ce_id") == batch.first_id.encode()
        and by_name.get(RUN) == b"%d %d %d" % (run.first, run.step, run.count)
        and by_name.get("ce_type") == event_type(batch.kind)
        and by_name.get("ce_source") == batch.source.encode()
        and by_name.get("ce_time") == _ce_time(batch.t0_ns // 1000)
        and by_name.get("ce_specversion") == b"1.0"
        and by_name.get("content-type") == b"application/json"
        and len(by_name.get("traceparent") or b"") == _TRACEPARENT_BYTES
    ):
        return
    if len(by_name) != len(headers):
        raise MalformedError(
            "headers: found a name twice, expected each once, "
            "or readers would disagree about which one counts"
        )
    forged = min(RESERVED & by_name.keys(), default=None) if captured else None
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
    if "content-type" in by_name:
        _compare(by_name, "content-type", b"application/json")
    if "traceparent" in by_name and len(by_name["traceparent"] or b"") != _TRACEPARENT_BYTES:
        raise MalformedError(
            f"headers: traceparent is no W3C trace context, expected {_TRACEPARENT_BYTES} characters"
        )
    if captured and not by_name.keys() <= _KNOWN:
        _check_foreign(by_name)
    if not captured and not (by_name.keys() <= _KNOWN | RESERVED and None not in by_name.values()):
        raise MalformedError("headers: found one that no stage writes, expected ours only")


def _compare(by_name: dict[str, bytes], name: str, expected: bytes) -> None:
    if by_name[name] != expected:
        raise MalformedError(f"headers: {name} disagrees with the value, expected what the envelope says")


@lru_cache(maxsize=1024)
def _to_the_second(t_s: int) -> bytes:
    return rfc3339(t_s * 1_000_000_000)[:19].encode()


def _ce_time(t_ns: int) -> bytes:
    # What `rfc3339` says; formatting the date anew for each batch would cost more than all other comparisons.
    t_s, rest_ns = divmod(t_ns, 1_000_000_000)
    return b"%s.%06dZ" % (_to_the_second(t_s), rest_ns // 1000)


def _check_foreign(by_name: dict[str, bytes]) -> None:
    """Check headers that are not ours: they are forwarded as they are, so they are few and short."""
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
