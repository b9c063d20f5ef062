"""Makes docs/topics.md and docs/schemas/: `python -m docs.make`. A test makes them again and compares.

Everything comes from the topology, the kinds, texts.toml and one replay of the shipped recordings; the
records shown are as that replay wrote them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from docs.schema import schema, text, texts
from streams.errors import InputError
from streams.events.batch import CONTEXT_VALUES
from streams.events.headers import PARENTS, rfc3339
from streams.events.kinds import Kind, Kinds, text_form, unit
from streams.events.record import Headers, Outgoing
from streams.events.shipped import SHIPPED
from streams.limits import MAGNITUDE_MAX
from streams.policy.load import load
from streams.replay import Replay
from streams.topology import LINEAGE, PARTITIONS_DEFAULT, TOPICS, Topic

HERE = Path(__file__).parent
#: The scenarios that records are taken from: each kind comes from the first that plays it.
SCENARIOS = ("smoke", "commute")
KNOW_OURS = HERE / "examples" / "know_ours.py"
OPEN_SEALED = HERE / "examples" / "open_sealed.py"
SEND = HERE / "examples" / "send_as_glasses.py"
READ_PACKED = HERE / "examples" / "read_packed.py"
READ_LABEL = HERE / "examples" / "read_label.py"
START_NS = 1_790_000_000_000_000_000
#: Kinds of which no shipped recording has an event.
NOT_PLAYED = frozenset({"review"})
#: The first seconds of a life are special (no consent yet, batches that are split): a later record is shown.
_SETTLED_NS = START_NS + 5_000_000_000
_INTRODUCTION = """\
# The topics

For who reads the topics without Sightline. Made by `python -m docs.make` from \
`streams/topology.py`, `streams/events/shipped.py` and a
replay of the shipped recordings; a test makes it again and compares. Change `docs/texts.toml`, not this page.

Every value is JSON, but for those that devices send packed (see *Packed values*); every header is text \
(one is packed, see below);
compression is Kafka's own. Agents write in transactions: read
with `isolation.level=read_committed`, or you also see what was taken back. \
A schema for each kind (JSON Schema, draft 2020-12) is in
[`docs/schemas/`](schemas). [`docs/examples/read_one_zone.py`](examples/read_one_zone.py) \
reads one zone by its header alone and
continues the trace, [`own_consumer.py`](examples/own_consumer.py) validates what it reads with this package \
and goes on in a topic of its own; with kcat, which ends when it has caught up:

```sh
kcat -b 127.0.0.1:9092 -C -t glasses.zoned -X isolation.level=read_committed -e \
-f '%h\\t%s\\n' | grep 'sightline-zone=public,'
```
"""


def replayed(scenario: str, directory: Path) -> tuple[Path, list[Outgoing]]:
    """Play a scenario into a journal in `directory` and run the pipeline over it.

    Returns the journal and every record written.
    """
    journal = directory / scenario
    subprocess.run(
        [
            sys.executable,
            "-m",
            "device_sim",
            "run",
            "--scenario",
            scenario,
            "--to",
            "file",
            "--journal",
            str(journal),
            "--devices",
            "1",
            "--start-ns",
            str(START_NS),
        ],
        check=True,
        capture_output=True,
    )
    records: list[Outgoing] = []
    asyncio.run(Replay(load("household"), records.extend).run(journal))
    return journal, records


def kind_of(record: Outgoing, kinds: Kinds) -> str | None:
    """Which of `kinds` a record's events have, by its header; None where it is no batch and no model."""
    event_type = dict(record.headers).get("ce_type", b"").decode()
    return next((kind.name for kind in kinds.values() if kind.event_type == event_type), None)


def shown(records: Sequence[Outgoing], kinds: Kinds) -> dict[str, Outgoing]:
    """Return one record for each of `kinds`; InputError when one is not among them."""
    chosen: dict[str, Outgoing] = {}
    for record in records:
        kind = kind_of(record, kinds)
        if kind is not None and (
            kind not in chosen or chosen[kind].timestamp_ms < _SETTLED_NS // 1_000_000 <= record.timestamp_ms
        ):
            chosen[kind] = record
    missing = kinds.keys() - chosen.keys() - NOT_PLAYED
    if missing:
        raise InputError(
            f"kind {min(missing)}: found no record of it in {', '.join(SCENARIOS)}, expected one; add a"
            f" scenario that plays it to SCENARIOS in {Path(__file__).name}, or the kind to NOT_PLAYED"
        )
    return chosen


def page(records: Mapping[str, Outgoing], kinds: Kinds) -> str:
    """Text of topics.md, with a part for each of `kinds`."""
    parts = [
        _INTRODUCTION,
        *_topics(),
        *_ours(),
        *_device(),
        *_producers(),
        *_headers(records),
        *_envelope(kinds),
        *_packed(),
        "## Sealed values\n",
        text("sealed", "about"),
        "```python\n" + OPEN_SEALED.read_text(encoding="utf-8") + "```\n",
        text("sealed", "service"),
        "## Kinds\n",
        *_types(),
    ]
    for kind in kinds.values():
        parts += _kind(kind, records.get(kind.name))
    return "\n".join(parts)


def files(records: Mapping[str, Outgoing], kinds: Kinds) -> dict[Path, str]:
    """Content of every generated file, by its path."""
    schemas = {
        HERE / "schemas" / f"{kind.name}.json": json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"
        for kind in kinds.values()
    }
    return {HERE / "topics.md": page(records, kinds), **schemas}


def _topics() -> Iterator[str]:
    yield "## Topics\n"
    followed = f"{PARTITIONS_DEFAULT}, or as the worker was told"
    rows = [
        (f"`{topic.name}`", topic.holds, topic.key, _cleanup(topic), "1" if topic.single else followed)
        for topic in TOPICS
    ]
    yield from _table(("topic", "holds", "key", "cleanup", "partitions"), rows)
    yield (
        "All topics with the same partition count have a device in the same partition number, in its order."
        " The count is fixed for the life of the topics.\n"
    )
    for topic in TOPICS:
        yield f"**{topic.name}**: {text('topics', topic.name)}\n"


def _ours() -> Iterator[str]:
    yield "## How to know ours\n"
    yield text("ours", "about")
    yield "```python\n" + KNOW_OURS.read_text(encoding="utf-8") + "```\n"
    yield text("ours", "copies")
    rows = [(who, text("writers", who)) for who in texts()["writers"]]
    yield from _table(("who", "needs of the broker"), rows)


def _device() -> Iterator[str]:
    yield "## What a device sends\n"
    yield text("device", "about")
    rows = [
        (f"`{name}`" if name in header_names() else name, says)
        for name, says in texts()["device"]["headers"].items()
    ]
    yield from _table(("header", "value"), rows)
    yield text("device", "parts")
    yield "```python\n" + SEND.read_text(encoding="utf-8") + "```\n"


def _producers() -> Iterator[str]:
    yield "## Rules for who writes to glasses.captured\n"
    for name, says in texts()["producers"].items():
        yield f"**{name.capitalize()}.** {says}\n"
    yield (
        "What is refused stands on `glasses.rejected` and in table `rejected`, by one of these rules. Column "
        "`outcome` of the table says in one word what became of it: `refused`, `malformed`, `repeated`, "
        "`collision`, `clock` or `late`.\n"
    )
    rows = [(f"`{rule}`", says) for rule, says in texts()["rules"].items()]
    yield from _table(("rule", "says"), rows)


def _cleanup(topic: Topic) -> str:
    return f"{topic.cleanup}, {topic.kept}" if topic.kept else topic.cleanup


def _headers(records: Mapping[str, Outgoing]) -> Iterator[str]:
    yield "## Headers\n"
    yield (
        "[CloudEvents](https://cloudevents.io) 1.0, Kafka binding, binary mode, and W3C trace context, so"
        " that any CloudEvents library reads them. Examples are those of the answer below.\n"
    )
    example = dict(records["answer"].headers)
    yield from _table(
        ("header", "says", "example"),
        [
            (
                f"`{name}`",
                text("headers", name),
                f"`{_header(name, example[name])}`" if name in example else "",
            )
            for name in header_names()
        ],
    )
    yield text("ours", "labels")
    yield "```python\n" + READ_LABEL.read_text(encoding="utf-8") + "```\n"


def header_names() -> list[str]:
    """Names of all headers that texts.toml explains, in its order."""
    return list(texts()["headers"])


def _header(name: str, value: bytes) -> str:
    return value.hex(" ") if name == PARENTS else value.decode()


def _envelope(kinds: Kinds) -> Iterator[str]:
    yield "## Envelope\n"
    yield (
        "The value of every batch is one JSON object with these fields, or packed, below. A value is at most"
        " 512 kB; every list has `n` values.\n"
    )
    any_kind = schema(kinds.derived[0])["properties"]
    yield from _table(
        ("field", "type", "says"),
        [(f"`{name}`", _type(form), text("envelope", name)) for name, form in any_kind.items()],
    )
    yield "`context` holds:\n"
    yield from _table(
        ("field", "type", "says"),
        [
            (f"`{name}`", _context_type(allowed), text("context", name))
            for name, allowed in CONTEXT_VALUES.items()
        ],
    )


def _packed() -> Iterator[str]:
    yield "## Packed values\n"
    yield text("packed", "about")
    yield "```python\n" + READ_PACKED.read_text(encoding="utf-8") + "```\n"


def _type(form: Mapping[str, Any]) -> str:
    if "const" in form:
        return f"`{json.dumps(form['const'])}`" if not isinstance(form["const"], str) else "string"
    if form.get("type") == "array":
        return "array"
    return str(form.get("type", "object"))


def _context_type(allowed: frozenset[str] | type) -> str:
    return (
        {bool: "boolean", int: "integer"}[allowed]
        if isinstance(allowed, type)
        else ", ".join(sorted(allowed))
    )


def _types() -> Iterator[str]:
    yield (
        "Types of columns; with a question mark, null where there is nothing to say; behind a comma what"
        " numbers are in a packed value. What has another form is rejected.\n"
    )
    forms = {name: text_form(name) for name in ("text", "token", "tokens")}
    rows = [
        (f"`{name}`", form.description, f"`{form.pattern.pattern}`") for name, form in forms.items() if form
    ]
    yield from _table(
        ("type", "holds", "pattern"),
        [
            ("`number`", f"a number whose magnitude is at most {MAGNITUDE_MAX:g}", ""),
            ("`flag`", "true or false", ""),
            *rows,
            ("words", "one of these words and no other", ""),
        ],
    )


def _kind(kind: Kind, record: Outgoing | None) -> Iterator[str]:
    yield f"### {kind.name}\n"
    origin = "Captured by the device" if kind.captured else "Derived"
    yield (
        f"{text('kinds', kind.name, 'about')} {origin}; `{kind.event_type}`; "
        f"[schema](schemas/{kind.name}.json).\n"
    )
    if kind.columns:
        yield from _table(
            ("column", "unit", "type", "says"),
            [
                (f"`{name}`", unit(name), _held(kind, name, wanted), text("kinds", kind.name, name))
                for name, wanted in kind.columns.items()
            ],
        )
    elif kind.name == "model":
        yield from _table(
            ("field", "type", "says"),
            [
                (f"`{name}`", _type(form), str(form["description"]))
                for name, form in schema(kind)["properties"].items()
            ],
        )
    if record is None:
        yield "No shipped recording has an event of this kind.\n"
        return
    key, at = record.key.decode(), rfc3339(record.timestamp_ms * 1_000_000)
    yield f"A record of `{record.topic}`, key `{key}`, timestamp {at}:\n"
    yield (
        "```text\n"
        + "".join(f"{name}: {_header(name, value)}\n" for name, value in _sorted(record.headers))
        + "```\n"
    )
    if kind.name == "model":
        yield "Its value, without the field `model`:\n"
    yield "```json\n" + _value(record.value or b"", without="model" if kind.name == "model" else "") + "```\n"


def _held(kind: Kind, name: str, wanted: str) -> str:
    """Type of a column, with what its numbers are in a packed value: only devices send those."""
    packed = f", {kind.wire[name]}" if kind.captured and name in kind.wire else ""
    return wanted.replace("|", ", ") + packed


def _sorted(headers: Headers) -> list[tuple[str, bytes]]:
    order = header_names()
    return sorted(headers, key=lambda header: order.index(header[0]))


def _value(value: bytes, *, without: str) -> str:
    """JSON with one line a field, and one a column."""
    fields = orjson.loads(value)
    lines = []
    for name, content in fields.items():
        if name == "columns":
            columns = [
                f"    {json.dumps(column)}: {json.dumps(values, ensure_ascii=False)}"
                for column, values in content.items()
            ]
            lines.append('  "columns": {\n' + ",\n".join(columns) + "\n  }")
        elif name != without:
            lines.append(f"  {json.dumps(name)}: {json.dumps(content, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [head, ["---"] * len(head), *rows]
    yield "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> None:
    """Write the files, and remove schemas of kinds that are gone."""
    with tempfile.TemporaryDirectory(prefix="sightline-") as directory:
        records = [
            record
            for scenario in SCENARIOS
            for record in replayed(scenario, Path(directory))[1]
            if record.topic != LINEAGE
        ]
    made = files(shown(records, SHIPPED), SHIPPED)
    for path in HERE.glob("schemas/*.json"):
        if path not in made:
            path.unlink()
    for path, content in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
