"""Records that no device of ours would send: ways to spoil a good one, each with a name, and the corpus of kept ones.

Every way leaves nothing that could pass: what comes of it must be on `glasses.rejected`, at its place, with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from streams.events.codec import encode
from streams.events.headers import LABEL, PARENTS, RUN, ZONE, envelope
from streams.events.kinds import KINDS
from streams.events.record import StoredRecord
from streams.limits import FOREIGN_HEADERS_BYTES_MAX, NUMBER_MAX, TEXT_CHARACTERS_MAX, VALUE_BYTES_MAX
from tests import build

CORPUS = Path(__file__).parent / "corpus"
#: What a header can hold although it is declared as bytes.
Headers = Sequence[tuple[Any, Any]]
Spoil = Callable[[st.DrawFn, StoredRecord], StoredRecord]

NO_INTEGERS: list[Any] = [None, True, "7", 1.5, [], {}, -1, 2**62 + 1, 2**63, 2**64, 10**30, 1e300]
NO_TEXTS: list[Any] = [None, True, 7, 1.5, [], {}, "", "x" * 201]
STAMPS = [-(2**62), -2, 0, 1, 2**41, 2**53, 2**62]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A record, the way it was spoiled, and (of the corpus) the beginning of the reason that must be given."""

    way: str
    record: StoredRecord
    reason: str = ""


def good(kind: str, number: int, *, source: str = "h1", count: int = 4) -> StoredRecord:
    """A record that passes: the good one of a hostile pair."""
    texts = {"target": ["g1/answer/1"], "form": ["thumb"], "chosen_intent": ["alarm_set"], "session": ["started"]} if count == 1 else {}
    columns = {name: values for name, values in texts.items() if name in KINDS[kind].columns}
    return build.record(build.batch(kind, None, number, count, source=source, columns=columns), 0)


def _value(change: Callable[[st.DrawFn, dict[str, Any]], object]) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        fields = orjson.loads(record.value or b"")
        change(draw, fields)
        return replace(record, value=_dumps(fields))
    return spoil


def _dumps(fields: Any) -> bytes:
    """JSON of what orjson refuses too: integers of any size."""
    def default(found: Any) -> Any:
        raise TypeError(found)
    try:
        return orjson.dumps(fields, default=default)
    except TypeError:
        import json  # noqa: PLC0415  only for numbers that no fast encoder writes
        return json.dumps(fields, separators=(",", ":")).encode()


def _set(*path: str, values: Sequence[Any]) -> Spoil:
    def change(draw: st.DrawFn, fields: dict[str, Any]) -> None:
        for name in path[:-1]:
            fields = fields[name]
        fields[path[-1]] = draw(st.sampled_from(list(values)))
    return _value(change)


def _drop(draw: st.DrawFn, fields: dict[str, Any]) -> None:
    names = sorted(fields.keys() - {"t_ns"})
    del fields[draw(st.sampled_from(names))]


def _in_column(values: Mapping[str, Sequence[Any]]) -> Spoil:
    """One value of one column replaced by one that its type does not allow."""
    def change(draw: st.DrawFn, fields: dict[str, Any]) -> None:
        columns = KINDS[fields["kind"]].columns
        name = draw(st.sampled_from(sorted(columns)))
        column = fields["columns"][name]
        column[draw(st.integers(0, len(column) - 1))] = draw(st.sampled_from(list(values[columns[name].rstrip("?")])))
    return _value(change)


def _literal(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """A number written as JSON does not know it."""
    word = draw(st.sampled_from([b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"0x10", b"01", b"1_000", b".5", b"+1"]))
    value = record.value or b""
    at = value.index(b'"dt_ns":') + len(b'"dt_ns":')
    return replace(record, value=value[:at] + word + value[value.index(b",", at):])


def _truncated(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    value = record.value or b""
    return replace(record, value=value[:draw(st.integers(0, len(value) - 1))])


def _inserted(parts: st.SearchStrategy[bytes], before: bytes) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        value = record.value or b""
        at = value.index(before)
        return replace(record, value=value[:at] + draw(parts) + value[at:])
    return spoil


def _deep(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    depth = draw(st.sampled_from([200, 1_000, 1_100, 20_000]))
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    value = record.value or b""
    whole = opening * depth + b"1" + closing * depth
    column = next(iter(KINDS[orjson.loads(value)["kind"]].columns)).encode()
    where = draw(st.sampled_from([b'{"v"', b'"columns":', b'"%s":[' % column]))
    if where == b'{"v"':
        return replace(record, value=whole)
    at = value.index(where) + len(where)
    return replace(record, value=value[:at] + whole + (b"," if where.endswith(b"[") else b"}") + value[at:])


def _large(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """Longer than a value may be, up to what the broker takes in one record."""
    over = draw(st.sampled_from([1, 1000, 1_040_000 - VALUE_BYTES_MAX]))
    value = record.value or b""
    filler = draw(st.sampled_from([b" ", b"\0", b"9", b"{"]))
    return replace(record, value=value + filler * (VALUE_BYTES_MAX + over - len(value)))


def _twice(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    """A key twice in one object; the first is what another parser may take."""
    value, fields = record.value or b"", orjson.loads(record.value or b"")
    name = draw(st.sampled_from(sorted(fields)))
    space, escaped = draw(st.sampled_from([b"", b" ", b"\n\t"])), draw(st.booleans())
    other = {**build.context(), "place": "clinic"} if name == "context" else fields[name]
    key = b'"\\u%04x%s"' % (ord(name[0]), name[1:].encode()) if escaped else b'"%s"' % name.encode()
    inner = draw(st.booleans())
    if inner:
        return replace(record, value=value.replace(b'"context":{', b'"context":{"place"%s:"clinic",' % space, 1))
    return replace(record, value=b"{" + key + space + b":" + _dumps(other) + b"," + value[1:])


def _headers(change: Callable[[st.DrawFn, dict[str, Any]], object]) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        headers: dict[str, Any] = dict(record.headers)
        change(draw, headers)
        return replace(record, headers=tuple(headers.items()))
    return spoil


def _disagrees(name: str, values: st.SearchStrategy[Any]) -> Spoil:
    def change(draw: st.DrawFn, headers: dict[str, Any]) -> None:
        found = headers[name]
        headers[name] = draw(values.filter(lambda value: value != found))
    return _headers(change)


def _added(names: st.SearchStrategy[Any], values: st.SearchStrategy[Any], count: int = 1) -> Spoil:
    def spoil(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
        more = [(draw(names), draw(values)) for _ in range(count)]
        return replace(record, headers=tuple(draw(st.permutations([*record.headers, *more]))))
    return spoil


def _missing(draw: st.DrawFn, headers: dict[str, Any]) -> None:
    del headers[draw(st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", RUN]))]


def _repeated(draw: st.DrawFn, record: StoredRecord) -> StoredRecord:
    name, value = draw(st.sampled_from(list(record.headers)))
    again = (name, draw(st.sampled_from([value, b"", b"other", None])))
    return replace(record, headers=tuple(draw(st.permutations([*record.headers, again]))))


class RawName(str):
    """A header name whose bytes are no UTF-8; a client writes whatever `encode` returns."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + str.encode(self, encoding, errors)


IDS = st.sampled_from([b"", b"g9/imu-right/0", b"h1/imu-right/00", b"h1/imu-right/4611686018427387905", b"\xff\xfe", b"h1/answer/1", None])
FORGED = st.sampled_from([ZONE, LABEL, PARENTS, "Sightline-Zone", "SIGHTLINE-LABEL", " sightline-zone", "sightline-zone ", "sightline-",
                          "sightline-reason", "ce_zone", "CE_ID"])
#: Ways that spoil any captured record.
CAPTURED: Mapping[str, Spoil] = {
    "truncated": _truncated,
    "random bytes": lambda draw, record: replace(record, value=draw(st.binary(max_size=400))),
    "no value": lambda draw, record: replace(record, value=None),
    "another JSON": lambda draw, record: replace(record, value=draw(st.sampled_from([b"null", b"[]", b"7", b'"x"', b"{}", b"true"]))),
    "a field less": _value(_drop),
    "no version": _set("v", values=[None, True, 1.0, "1", 2, 0, [], {}]),
    "no kind": _set("kind", values=[None, 7, [], {}, "", "gait", "answer", "example", "model", "IMU"]),
    "no device": _set("device_id", values=[*NO_TEXTS, "H1", "h 1", "h1/x", "../h1", "h1\n", "ｈ1"]),
    "no wearer": _set("wearer_id", values=[*NO_TEXTS, "W 1", "w1\0"]),
    "no session": _set("session_id", values=[*NO_TEXTS, "-s"]),
    "no stream": _set("stream", values=[*NO_TEXTS, "imu~", "imu~x", "imu~1234567", "imu/0", "IMU"]),
    "no first": _set("first", values=[*NO_INTEGERS, NUMBER_MAX]),
    "no count": _set("n", values=[*NO_INTEGERS, 0, 5, 4097, 10**9]),
    "no time": _set("t0_ns", values=[*NO_INTEGERS, -(10**18)]),
    "no interval": _set("dt_ns", values=[*NO_INTEGERS, 2**61]),
    "no times": _set("t_ns", values=[7, "x", {}, [], [1], [1, 2, 3, None], [1, 2, 3, -4], [1, 2, 3, 2**63], [1.0] * 4, [[1]] * 4]),
    "no clock": _set("clock", values=NO_TEXTS),
    "no origin": _set("origin", values=NO_TEXTS),
    "no context": _set("context", values=[None, [], {}, 7, "home", {"place": "home"}]),
    "no place": _set("context", "place", values=[None, [], {}, 7, True, "moon", "HOME"]),
    "no people": _set("context", "people_near", values=[None, [], ["nobody"], {}, "many"]),
    "no light": _set("context", "capture_light", values=[None, 0, 1, "false", []]),
    "no consent": _set("context", "consent", values=[None, True, -1, 1.0, "1", 2**63, []]),
    "no changes": _set("context_changes", values=[7, {}, "x", [7], [{}], [{"at": 0}], [{"at": 9}], [{"at": True}], [{"at": 1, "place": []}],
                                                  [{"at": 2}, {"at": 1}], [{"at": 1, "mood": "good"}], [{"at": 10**30}]]),
    "no step": _set("step", values=[0, 2, -1, None, "1", 2**62]),
    "no columns": _set("columns", values=[None, [], {}, 7, {"mood": ["good"]}]),
    "a column of another type": _in_column({"number": ["7", True, [], {}, [7]], "text": [7, True, [], {}], "flag": [0, 1, "true", None, []]}),
    "a column out of bounds": _in_column({"number": [1e51, -1e308, 1.7e308, 10**60], "text": ["x" * (TEXT_CHARACTERS_MAX + 1), "\0" * 9999],
                                          "flag": [2**64]}),
    "a number that JSON has not": _literal,
    "no UTF-8": _inserted(st.sampled_from([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\0", b"\n"]), b'unix"'),
    "a lone surrogate": _inserted(st.sampled_from([rb"\ud800", rb"\udfff\ud800", rb"\ud83d\ud83d", rb"\uZZZZ", rb"\x"]), b'unix"'),
    "deep": _deep,
    "longer than a value": _large,
    "a key twice": _twice,
    "more behind": lambda draw, record: replace(record, value=(record.value or b"") + draw(st.sampled_from([b"{}", b",", b"}", b"\0"]))),
    "another key": lambda draw, record: replace(record, key=draw(st.sampled_from([None, b"", b"g2", b"H1", b"\xff", b"h1 ", b"k" * 100_000]))),
    "a forged tag": _added(FORGED, st.sampled_from([b"public", b"", None, b"\xff"])),
    "a header twice": _repeated,
    "no headers": lambda draw, record: replace(record, headers=()),
    "a header less": _headers(_missing),
    "another id": _disagrees("ce_id", IDS),
    "another source": _disagrees("ce_source", st.sampled_from([b"", b"g2", b"H1", b"\xff", None])),
    "another type": _disagrees("ce_type", st.sampled_from([b"", b"glasses.answer.v1", b"glasses.imu.v2", b"\xff", None])),
    "another run": _disagrees(RUN, st.sampled_from([b"", b"0 1 5", b"1 1 4", b"0 2 4", b"0 1", b"0 1 4 ", b"-1 1 4", b"9" * 99, None])),
    "another version of the standard": _disagrees("ce_specversion", st.sampled_from([b"", b"0.3", b"1.1", b"\xff", None])),
    "another time": _disagrees("ce_time", st.sampled_from([b"", b"yesterday", b"1970-01-01T00:00:00.000000Z", b"\xff", None])),
    "another content": _disagrees("content-type", st.sampled_from([b"text/plain", b"", None])),
    "no trace": _disagrees("traceparent", st.sampled_from([b"", b"00-0-0-01", None, b"0" * 9999])),
    "too many headers": _added(st.integers(0, 10**9).map(lambda i: f"x-{i}"), st.just(b""), count=9),
    "a long header": _added(st.just("x-long"), st.integers(FOREIGN_HEADERS_BYTES_MAX, 400_000).map(bytes)),
    "a header without a value": _added(st.just("x-null"), st.none()),
    "a name that is no text": _added(st.sampled_from([RawName("x"), RawName(ZONE), "", "é", "sightline\u200b-zone", "a\nb"]), st.just(b"public")),
}
#: Ways that spoil an example; its headers are the feedback stage's, so only its value and what the gate reads can be wrong.
EXAMPLES: Mapping[str, Spoil] = {
    name: CAPTURED[name] for name in (
        "truncated", "random bytes", "no value", "another JSON", "no version", "no device", "no wearer", "no session", "no stream", "no time",
        "no origin", "no context", "no place", "no consent", "no columns", "a column of another type", "a column out of bounds", "no UTF-8",
        "a lone surrogate", "deep", "longer than a value", "a key twice", "more behind", "a name that is no text", "another key", "a header twice",
        "no headers", "a header less", "another id", "another source", "another type", "another time", "another content")
} | {
    "several events": _set("n", values=[0, 2, 3, 4096, 10**9, True, None]),
    "another kind": _set("kind", values=["imu", "voice_query", "answer", "situation", "model", None, []]),
    "no zone": _disagrees(ZONE, st.sampled_from([b"\xff\xfe", None])),
    "no label": _disagrees(LABEL, st.sampled_from([b"\xff\xfe", None])),
    "a broken label": lambda draw, record: replace(record, headers=tuple(
        (name, value + draw(st.sampled_from([b"0", b"zz", b"00", b"\xff"])) if name == LABEL else value) for name, value in record.headers)),
}
CAPTURED_KINDS = [kind.name for kind in KINDS.values() if kind.captured]


@st.composite
def spoiled(draw: st.DrawFn, base: Callable[[st.DrawFn], StoredRecord], ways: Mapping[str, Spoil]) -> Hostile:
    """One record spoiled in one way, with a stamp that any producer may write."""
    way = draw(st.sampled_from(list(ways)))
    record = ways[way](draw, base(draw))
    return Hostile(way, replace(record, timestamp=draw(st.sampled_from([record.timestamp, *STAMPS]))))


def captured(source: str = "h1") -> st.SearchStrategy[Hostile]:
    """Hostile records of `glasses.captured`, of a device that sends good ones too; their numbers begin at 10^6."""
    def base(draw: st.DrawFn) -> StoredRecord:
        return good(draw(st.sampled_from(CAPTURED_KINDS)), draw(st.integers(10**6, 10**9)), source=source)
    return spoiled(base, CAPTURED)


def examples(first: StoredRecord) -> st.SearchStrategy[Hostile]:
    """Hostile records of `glasses.examples`, made of a good one."""
    return spoiled(lambda draw: first, EXAMPLES)


def drawn(strategy: st.SearchStrategy[Hostile], count: int, of: int) -> list[Hostile]:
    """`count` records of a strategy by seed `of`: the same seed gives the same records."""
    found: list[Hostile] = []

    @seed(of)
    @settings(max_examples=-(-count // 10), database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(strategy, min_size=10, max_size=10))
    def collect(some: list[Hostile]) -> None:
        found.extend(some)

    while len(found) < count:
        collect()
    return found[:count]


def corpus(topic: str) -> list[Hostile]:
    """Kept cases of a topic: one JSON object a line, bytes as Latin-1 text, `repeat` for what would be too long to read."""
    lines = (CORPUS / f"{topic}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_kept(orjson.loads(line)) for line in lines]


def _kept(case: Mapping[str, Any]) -> Hostile:
    base = good(case.get("like", "imu"), 0)
    headers = tuple(map(tuple, case["headers"])) if "headers" in case else base.headers
    parts = {name: _bytes(case[name]) if name in case else getattr(base, name) for name in ("key", "value")}
    if "set" in case:
        parts["value"] = _dumps({**orjson.loads(base.value or b""), **case["set"]})
    if "replace" in case:
        parts["value"] = (parts["value"] or b"").replace(*(_bytes(part) or b"" for part in case["replace"]))
    known = tuple((name, _bytes(value)) for name, value in headers) if "headers" in case else headers
    if "header" in case:
        known = (*(pair for pair in known if pair[0] != case["header"][0] or case.get("twice")), (case["header"][0], _bytes(case["header"][1])))
    return Hostile(case["way"], StoredRecord(0, case.get("timestamp", base.timestamp), parts["key"], parts["value"], known), case["reason"])


def _bytes(found: Any) -> bytes | None:
    if found is None:
        return None
    if isinstance(found, list):
        return b"".join((_bytes(text) or b"") * times for text, times in found)
    return str(found).encode("latin-1")


def reencoded(record: StoredRecord, **fields: Any) -> StoredRecord:
    """A good captured record with other envelope fields and the headers that go with them."""
    made = replace(build.batch(), **fields)
    return replace(record, value=encode(made), headers=tuple(envelope(made)), key=made.source.encode())
