"""Records that no device of ours would send.

They are every way to spoil a good one by name, drawn ones by seed, and the kept corpus.

Every way leaves nothing that could pass: what comes of it must be on `glasses.rejected`, at its place, with a
reason.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from streams.events.headers import LABEL, PARENTS, RUN, ZONE
from streams.events.record import StoredRecord
from streams.events.shipped import SHIPPED
from streams.limits import (
    FOREIGN_HEADERS_BYTES_MAX,
    NUMBER_MAX,
    TEXT_CHARACTERS_MAX,
    TOKEN_CHARACTERS_MAX,
)
from tests import build
from tests.hostile import spoil
from tests.hostile.spoil import Spoil

CORPUS = Path(__file__).parent / "corpus"
NO_INTEGERS: list[Any] = [None, True, "7", 1.5, [], {}, -1, 2**62 + 1, 2**63, 2**64, 10**30, 1e300]
CONTROLS = ["live\x1b[2J", "\x07", "a\r\nforged row", "\x7f", "a\x9b2J", "\x00"]
#: A sentence, white space, what turns the direction of writing, and letters that only look like ours.
NO_TOKENS = [
    *CONTROLS,
    "she said: my test is positive",
    " x",
    "x ",
    "x\n",
    "-x",
    "\u202ex",
    "x\u200b",
    "\u0445",
]
NO_TEXTS: list[Any] = [None, True, 7, 1.5, [], {}, "", "x" * 201, *NO_TOKENS]
#: All that a household asks for, so that a wearer who says so changes nothing for the others of these
#: records.
PURPOSES = "dpv:RequestedServiceProvision dpv:ServicePersonalisation ai:ModelTraining"
#: Two in one batch of records lie less than 2^62 apart, or the client cannot write their distance.
STAMPS = [-(2**60), -2, 0, 1, 2**41, 2**53, 2**61]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A record, the way it was spoiled, and (of the corpus) what the reason must contain."""

    way: str
    record: StoredRecord
    reason: str = ""


def good(kind: str, number: int, *, source: str = "h1", count: int = 4) -> StoredRecord:
    """A record that passes: the good one of a hostile pair."""
    texts: dict[str, list[Any]] = {}
    if count == 1:
        texts = {
            "target": ["g1/answer/1"],
            "form": ["thumb"],
            "chosen_intent": ["alarm_set"],
            "session": ["started"],
        }
    if kind == "consent_change":
        texts = {
            "consent": [1] * count,
            "status": ["dpv:ConsentGiven"] * count,
            "purposes": [PURPOSES] * count,
        }
    columns = {name: values for name, values in texts.items() if name in SHIPPED[kind].columns}
    return build.record(build.batch(kind, None, number, count, source=source, columns=columns), 0)


IDS = st.sampled_from(
    [
        b"",
        b"g9/imu-right/0",
        b"h1/imu-right/00",
        b"h1/imu-right/4611686018427387905",
        b"\xff\xfe",
        b"h1/answer/1",
        None,
    ]
)
FORGED = st.sampled_from(
    [
        ZONE,
        LABEL,
        PARENTS,
        "Sightline-Zone",
        "SIGHTLINE-LABEL",
        " sightline-zone",
        "sightline-zone ",
        "sightline-",
        "sightline-reason",
        "ce_zone",
        "CE_ID",
    ]
)
#: Ways that spoil any captured record.
CAPTURED: Mapping[str, Spoil] = {
    "truncated": spoil.truncated,
    "random bytes": lambda draw, record: replace(record, value=draw(st.binary(max_size=400))),
    "no value": lambda draw, record: replace(record, value=None),
    "another JSON": lambda draw, record: replace(
        record, value=draw(st.sampled_from([b"null", b"[]", b"7", b'"x"', b"{}", b"true"]))
    ),
    "a field less": spoil.value(spoil.drop),
    "no version": spoil.setting("v", values=[None, True, 1.0, "1", 2, 0, [], {}]),
    "no kind": spoil.setting(
        "kind", values=[None, 7, [], {}, "", "gait", "answer", "example", "model", "IMU"]
    ),
    "no device": spoil.setting(
        "device_id", values=[*NO_TEXTS, "H1", "h 1", "h1/x", "../h1", "h1\n", "h\uff11"]
    ),
    "no wearer": spoil.setting("wearer_id", values=[*NO_TEXTS, "W 1", "w1\0"]),
    "no session": spoil.setting("session_id", values=[*NO_TEXTS, "-s"]),
    "no stream": spoil.setting(
        "stream",
        values=[*NO_TEXTS, "imu~", "imu~x", "imu~1234567", "imu~0", "imu~1", "imu~02", "imu/0", "IMU"],
    ),
    "no first": spoil.setting("first", values=[*NO_INTEGERS, NUMBER_MAX]),
    "no count": spoil.setting("n", values=[*NO_INTEGERS, 0, 5, 4097, 10**9]),
    "no time": spoil.setting("t0_ns", values=[*NO_INTEGERS, -(10**18)]),
    "no interval": spoil.setting("dt_ns", values=[*NO_INTEGERS, 2**61]),
    "no times": spoil.setting(
        "t_ns",
        values=[7, "x", {}, [], [1], [1, 2, 3, None], [1, 2, 3, -4], [1, 2, 3, 2**63], [1.0] * 4, [[1]] * 4],
    ),
    "no clock": spoil.setting("clock", values=NO_TEXTS),
    "no origin": spoil.setting("origin", values=NO_TEXTS),
    "no context": spoil.setting("context", values=[None, [], {}, 7, "home", {"place": "home"}]),
    "no place": spoil.setting("context", "place", values=[None, [], {}, 7, True, "moon", "HOME"]),
    "no people": spoil.setting("context", "people_near", values=[None, [], ["nobody"], {}, "many"]),
    "no light": spoil.setting("context", "capture_light", values=[None, 0, 1, "false", []]),
    "no consent": spoil.setting("context", "consent", values=[None, True, -1, 1.0, "1", 2**63, []]),
    "no changes": spoil.setting(
        "context_changes",
        values=[
            7,
            {},
            "x",
            [7],
            [{}],
            [{"at": 0}],
            [{"at": 9}],
            [{"at": True}],
            [{"at": 1, "place": []}],
            [{"at": 2}, {"at": 1}],
            [{"at": 1, "mood": "good"}],
            [{"at": 10**30}],
        ],
    ),
    "no step": spoil.setting("step", values=[0, 2, -1, None, "1", 2**62]),
    "no columns": spoil.setting("columns", values=[None, [], {}, 7, {"mood": ["good"]}]),
    "a column of another type": spoil.in_column(
        {
            "number": ["7", True, [], {}, [7]],
            **{name: [7, True, [], {}] for name in ("text", "token", "tokens", "closed")},
            "flag": [0, 1, "true", None, []],
        }
    ),
    "a column out of bounds": spoil.in_column(
        {
            "number": [1e51, -1e308, 1.7e308, 10**60],
            "text": ["x" * (TEXT_CHARACTERS_MAX + 1), "\0" * 9999],
            "token": ["x" * (TOKEN_CHARACTERS_MAX + 1), "x" * 9999],
            "tokens": ["x " * TEXT_CHARACTERS_MAX + "x", "x" * (TOKEN_CHARACTERS_MAX + 1)],
            "closed": ["x" * 9999],
            "flag": [2**64],
        }
    ),
    "a text of another form": spoil.in_column(
        {
            "number": ["\x1b[2J"],
            "text": CONTROLS,
            "token": NO_TOKENS,
            "tokens": [" ", "a  b", "a ", "a\tb", "a\nb", *CONTROLS],
            "closed": ["", "x", "end", "ended ", "ended\n", "ENDED", *NO_TOKENS],
            "flag": ["\x1b[2J"],
        }
    ),
    "a number that JSON has not": spoil.literal,
    "no UTF-8": spoil.inserted(
        st.sampled_from([b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\0", b"\n"]),
        b'unix"',
    ),
    "a lone surrogate": spoil.inserted(
        st.sampled_from([rb"\ud800", rb"\udfff\ud800", rb"\ud83d\ud83d", rb"\uZZZZ", rb"\x"]), b'unix"'
    ),
    "deep": spoil.deep,
    "longer than a value": spoil.large,
    "a key twice": spoil.twice,
    "more behind": lambda draw, record: replace(
        record, value=(record.value or b"") + draw(st.sampled_from([b"{}", b",", b"}", b"\0"]))
    ),
    "another key": lambda draw, record: replace(
        record, key=draw(st.sampled_from([None, b"", b"g2", b"H1", b"\xff", b"h1 ", b"k" * 100_000]))
    ),
    "a forged tag": spoil.added(FORGED, st.sampled_from([b"public", b"", None, b"\xff"])),
    "a header twice": spoil.repeated,
    "no headers": lambda draw, record: replace(record, headers=()),
    "a header less": spoil.spoil_headers(spoil.missing),
    "another id": spoil.disagrees("ce_id", IDS),
    "another source": spoil.disagrees("ce_source", st.sampled_from([b"", b"g2", b"H1", b"\xff", None])),
    "another type": spoil.disagrees(
        "ce_type", st.sampled_from([b"", b"glasses.answer.v1", b"glasses.imu.v2", b"\xff", None])
    ),
    "another run": spoil.disagrees(
        RUN,
        st.sampled_from([b"", b"0 1 5", b"1 1 4", b"0 2 4", b"0 1", b"0 1 4 ", b"-1 1 4", b"9" * 99, None]),
    ),
    "another version of the standard": spoil.disagrees(
        "ce_specversion", st.sampled_from([b"", b"0.3", b"1.1", b"\xff", None])
    ),
    "another time": spoil.disagrees(
        "ce_time", st.sampled_from([b"", b"yesterday", b"1970-01-01T00:00:00.000000Z", b"\xff", None])
    ),
    "another content": spoil.disagrees("content-type", st.sampled_from([b"text/plain", b"", None])),
    "no trace": spoil.disagrees("traceparent", st.sampled_from([b"", b"00-0-0-01", None, b"0" * 9999])),
    "too many headers": spoil.added(st.integers(0, 10**9).map(lambda i: f"x-{i}"), st.just(b""), count=9),
    "a long header": spoil.added(
        st.just("x-long"), st.integers(FOREIGN_HEADERS_BYTES_MAX, 400_000).map(bytes)
    ),
    "a header without a value": spoil.added(st.just("x-null"), st.none()),
    "a name that is no text": spoil.added(
        st.sampled_from([spoil.RawName("x"), spoil.RawName(ZONE), "", "é", "sightline\u200b-zone", "a\nb"]),
        st.just(b"public"),
    ),
}
#: Ways that spoil an example; its headers are the feedback stage's, so only its value and what the gate reads
#: can be wrong.
EXAMPLES: Mapping[str, Spoil] = {
    name: CAPTURED[name]
    for name in (
        "truncated",
        "random bytes",
        "no value",
        "another JSON",
        "no version",
        "no device",
        "no wearer",
        "no session",
        "no stream",
        "no time",
        "no origin",
        "no context",
        "no place",
        "no consent",
        "no columns",
        "a column of another type",
        "a column out of bounds",
        "no UTF-8",
        "a lone surrogate",
        "deep",
        "longer than a value",
        "a key twice",
        "more behind",
        "a name that is no text",
        "another key",
        "a header twice",
        "no headers",
        "a header less",
        "another id",
        "another source",
        "another type",
        "another time",
        "another content",
    )
} | {
    "several events": spoil.setting("n", values=[0, 2, 3, 4096, 10**9, True, None]),
    "another kind": spoil.setting(
        "kind", values=["imu", "voice_query", "answer", "situation", "model", None, []]
    ),
    "no zone": spoil.disagrees(ZONE, st.sampled_from([b"\xff\xfe", None])),
    "no label": spoil.disagrees(LABEL, st.sampled_from([b"\xff\xfe", None])),
    "a broken label": spoil.longer(LABEL, st.sampled_from([b"0", b"zz", b"00", b"\xff"])),
}
CAPTURED_KINDS = [kind.name for kind in SHIPPED.values() if kind.captured]


@st.composite
def spoiled(draw: st.DrawFn, base: st.SearchStrategy[StoredRecord], ways: Mapping[str, Spoil]) -> Hostile:
    """One record spoiled in one way, with a stamp that any producer may write."""
    way = draw(st.sampled_from(list(ways)))
    record = ways[way](draw, draw(base))
    return Hostile(way, replace(record, timestamp=draw(st.sampled_from([record.timestamp, *STAMPS]))))


def goods(source: str = "h1") -> st.SearchStrategy[StoredRecord]:
    """Good records of a device, to be spoiled; their numbers begin at 10^6."""
    return st.builds(good, st.sampled_from(CAPTURED_KINDS), st.integers(10**6, 10**9), source=st.just(source))


def drawn(
    base: st.SearchStrategy[StoredRecord], ways: Mapping[str, Spoil], count: int, of: int
) -> list[Hostile]:
    """`count` records spoiled in all ways, as often in each: the same seed `of` gives the same records."""
    each = -(-count // len(ways))
    found: list[Hostile] = []
    for way in ways:
        # A way that is always the same comes less often than it was asked for.
        found += islice(cycle(_some(spoiled(base, {way: ways[way]}), each, of)), each)
    random.Random(of).shuffle(found)
    return found[:count]


def _some(strategy: st.SearchStrategy[Hostile], count: int, of: int) -> list[Hostile]:
    found: list[Hostile] = []

    @seed(of)
    @settings(
        max_examples=-(-count // 10),
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(st.lists(strategy, min_size=10, max_size=10))
    def collect(some: list[Hostile]) -> None:
        found.extend(some)

    collect()
    return found


def corpus(topic: str) -> list[Hostile]:
    """Kept cases of a topic, one JSON object a line.

    Bytes stand there as Latin-1 text, or as [text, times] pairs where that would be too long.
    """
    return [
        _kept(orjson.loads(line))
        for line in (CORPUS / f"{topic}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def _kept(case: Mapping[str, Any]) -> Hostile:
    headers: Any = tuple((name, _bytes(value)) for name, value in case["headers"])
    return Hostile(
        case["way"],
        StoredRecord(0, case["timestamp"], _bytes(case["key"]), _bytes(case["value"]), headers),
        case["reason"],
    )


def _bytes(found: str | list[tuple[str, int]] | None) -> bytes | None:
    if isinstance(found, list):
        return b"".join(text.encode("latin-1") * times for text, times in found)
    return None if found is None else found.encode("latin-1")
