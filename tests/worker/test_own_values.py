"""Which values of the topics are handed to a wearer, against the small life that the golden device sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from streams.cli.rights.handing import MANIFEST, Handing, schema_of
from streams.consent.erased import NOTHING_ERASED, ErasedParts, Erasure
from streams.consent.view import Consents
from streams.consent.words import GIVEN, Word
from streams.errors import InputError
from streams.events.headers import LABEL, ZONE
from streams.events.record import Outgoing, StoredRecord
from streams.events.shipped import SHIPPED
from streams.policy.recheck import StoredPolicies
from streams.queries.role import Role
from streams.sealing.key_store import KeyStore
from streams.sealing.keys import Keys
from streams.sealing.sealed import is_sealed
from streams.topology import ANSWERS, DERIVED, EXAMPLES, TO_WEARER, ZONED
from streams.worker.own_values import OTHERS_CONTEXT, Opener, OwnValues, Topics
from tests import build
from tests.golden.story import life

OFFICER = Role("privacy-officer", exporting=True, into=TO_WEARER)
BATCHES = [made for _, made in life()]
Told = dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def outputs() -> Sequence[Outgoing]:
    """What the pipeline made of that life."""
    records, _ = build.process(build.core(), [build.fetch(BATCHES)])
    return records


def until(since_ns: int, at_ns: int) -> ErasedParts:
    return NOTHING_ERASED.after(Erasure("ab", 1, at_ns, since_ns))


def told(
    outputs: Sequence[Outgoing],
    *,
    provided: bool,
    wearer: str = "w1",
    erased: ErasedParts = NOTHING_ERASED,
    text: str = "",
    now_ns: int = build.T0_NS,
) -> tuple[OwnValues, Told]:
    policy = build.policy()
    texts = {policy.version: text or policy.text}
    values = OwnValues(wearer, OFFICER, build.CODEC, StoredPolicies(texts), provided, erased, now_ns)
    lines: Told = defaultdict(list)
    for topic in (ZONED,) if provided else (ZONED, DERIVED, ANSWERS):
        for each in outputs:
            if each.topic == topic:
                values.take(topic, lambda kind, line: lines[kind].append(orjson.loads(line)), stored(each))
    for each in outputs:
        if each.topic == EXAMPLES:
            values.take(EXAMPLES, lambda kind, line: lines[kind].append(orjson.loads(line)), stored(each))
    return values, lines


def stored(each: Outgoing, offset: int = 0) -> StoredRecord:
    return StoredRecord(offset, each.timestamp_ms, each.key, each.value, each.headers)


def numbers(lines: Sequence[dict[str, object]]) -> set[int]:
    return {number for line in lines for number in range(int(str(line["first"])), _end(line))}


def _end(line: dict[str, object]) -> int:
    return int(str(line["first"])) + int(str(line["n"]))


def sent(kind: str, *, strangers: bool) -> set[int]:
    """Numbers that the device sent under a consent, with strangers near or without."""
    return {
        made.run.first + at
        for made in BATCHES
        if made.kind == kind
        for begin, end, context in made.spans()
        if context is not None and context.consent
        for at in range(begin, end)
        if strangers or context.people_near != "strangers"
    }


def test_everything_that_topics_hold_of_her_is_told(outputs: Sequence[Outgoing]) -> None:
    values, lines = told(outputs, provided=False)
    assert numbers(lines["imu"]) == sent("imu", strangers=True)
    assert numbers(lines["voice_query"]) == sent("voice_query", strangers=True)
    queries = {made.columns["text"][0] for made in BATCHES if made.kind == "voice_query"}
    words = {word["says"]["text"][0] for word in values.words if word["kind"] == "voice_query"}
    assert words == queries
    assert {word["kind"] for word in values.words} >= {"voice_query", "answer", "feedback", "example"}
    assert len(lines["answer"]) == len(queries)
    assert values.events["imu"] == len(sent("imu", strangers=True))


def test_what_she_provided_has_neither_others_nor_what_was_made_of_it(outputs: Sequence[Outgoing]) -> None:
    values, lines = told(outputs, provided=True)
    assert numbers(lines["imu"]) == sent("imu", strangers=False)
    assert numbers(lines["voice_query"]) == sent("voice_query", strangers=False)
    assert not lines.keys() & {"activity", "answer", "situation", "place", "example"}
    assert not values.words
    assert {kind for kind, reason in values.left_out if "bystander" in reason} >= {"imu", "voice_query"}
    assert values.left_out["imu", "it is about others too: bystander, wearer (zone bystander-present)"] == 0
    left = sum(count for (kind, _), count in values.left_out.items() if kind == "imu")
    assert left == len(sent("imu", strangers=True)) - len(sent("imu", strangers=False))
    texts = json.dumps(lines)
    assert not any(f'"{name}"' in texts for name in OTHERS_CONTEXT)
    for each in lines["utterances"]:
        assert set(each) == {"example", "t", "utterance", "language"}
        assert each["utterance"] in {made.columns["text"][0] for made in BATCHES if "text" in made.columns}


@pytest.mark.parametrize("provided", [True, False])
def test_what_is_over_is_counted_and_not_told(outputs: Sequence[Outgoing], provided: bool) -> None:
    """It may lie on a topic for longer than its label permits."""
    later_ns = build.T0_NS + 2 * 86_400 * 10**9
    _, before = told(outputs, provided=provided)
    values, lines = told(outputs, provided=provided, now_ns=later_ns)
    near = sent("imu", strangers=True) - sent("imu", strangers=False)
    assert near
    assert numbers(lines["imu"]) == sent("imu", strangers=False), "with strangers it is kept for a day"
    assert values.left_out["imu", "its retention is over"] == len(near)
    assert lines["voice_query"]
    assert provided or numbers(before["imu"]) - numbers(lines["imu"]) == near
    told_of = {word["zone"] for word in values.words}
    assert "bystander-present" not in told_of
    ended, nothing = told(outputs, provided=provided, now_ns=build.T0_NS + 4000 * 86_400 * 10**9)
    assert not nothing
    assert {reason for _, reason in ended.left_out} == {"its retention is over"}


@pytest.mark.parametrize("provided", [True, False])
def test_each_line_is_as_its_schema_says(outputs: Sequence[Outgoing], provided: bool) -> None:
    _, lines = told(outputs, provided=provided)
    assert lines
    for kind, some in lines.items():
        schema = schema_of(SHIPPED, kind, without_others=provided)
        Draft202012Validator.check_schema(schema)
        for line in some:
            Draft202012Validator(schema).validate(line)


def test_the_words_of_another_who_wore_the_same_glasses_are_that_persons(outputs: Sequence[Outgoing]) -> None:
    """Also where they name her, or where her name is a part of the other's."""
    theirs = [
        replace(
            each,
            value=(each.value or b"")
            .replace(b'"wearer_id":"w1"', b'"wearer_id":"w11"')
            .replace(b"what is on my list", b"ask w1"),
        )
        for each in outputs
        if each.topic == ZONED
    ]
    values, lines = told(theirs, provided=False)
    assert not lines
    assert not values.left_out
    _, lines = told(theirs, provided=False, wearer="w11")
    assert "ask w1" in json.dumps(lines["voice_query"])


def test_what_was_captured_before_an_erasure_is_not_told(outputs: Sequence[Outgoing]) -> None:
    at_ns = build.T0_NS + 7 * 10**9
    _, lines = told(outputs, provided=False, erased=until(0, at_ns))
    assert lines["imu"]
    assert min(int(str(line["t0_ns"])) for some in lines.values() for line in some) > at_ns
    # What is older than its scope stays, and so it is told.
    _, since = told(outputs, provided=False, erased=until(at_ns - 3 * 10**9, at_ns))
    times = [int(str(line["t0_ns"])) for some in since.values() for line in some]
    assert min(times) < at_ns - 3 * 10**9
    assert not [t_ns for t_ns in times if at_ns - 3 * 10**9 <= t_ns <= at_ns]


def test_what_no_known_policy_tagged_is_not_told(outputs: Sequence[Outgoing]) -> None:
    """The text is of another policy than the one that tagged it, so nothing can be judged."""
    values, lines = told(outputs, provided=False, text=build.policy().text + "\n# another")
    assert not lines
    assert {reason for _, reason in values.left_out} == {"the policy that tagged it is not known"}


def test_a_value_without_a_label_is_not_told(outputs: Sequence[Outgoing]) -> None:
    bare = [
        replace(each, headers=[header for header in each.headers if header[0] not in (ZONE, LABEL)])
        for each in outputs
    ]
    values, lines = told(bare, provided=False)
    assert not lines
    assert values.left_out


def test_only_her_words_about_her_data_and_none_of_before_an_erasure(tmp_path: Path) -> None:
    consents = Consents()
    for offset, (wearer, number) in enumerate((("w1", 1), ("w2", 1), ("w1", 2))):
        consents.learn(offset, wearer, Word("g1", 1, number, GIVEN, ("a:b",), 0, 10**9 * (offset + 1)))
    values = OwnValues("w1", OFFICER, build.CODEC, StoredPolicies({}), provided=True, erased=until(0, 10**9))
    with Handing(tmp_path, SHIPPED, without_others=True) as handing:
        values.tell_consents(consents, handing.put)
        manifest = json.loads(handing.finish({"form": "x"}, values.events))
    (line,) = (tmp_path / "consents.jsonl").read_text().splitlines()
    assert json.loads(line)["number"] == 2
    Draft202012Validator(json.loads((tmp_path / "schemas" / "consents.json").read_text())).validate(
        json.loads(line)
    )
    (listed,) = manifest["files"]
    assert (listed["file"], listed["lines"], listed["events"]) == ("consents.jsonl", 1, 1)
    assert json.loads((tmp_path / MANIFEST).read_text()) == manifest
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.json*")} == {0o600}


def sealed(outputs: Sequence[Outgoing], keys: Path) -> list[StoredRecord]:
    """Records of `glasses.examples` as they are on the topic."""
    with contextlib.closing(KeyStore.made(keys)) as store:
        examples = [each for each in outputs if each.topic == EXAMPLES]
        written = asyncio.run(Keys(store).sealed(examples))
    return [stored(each) for each in written]


def opened(keys: Path, records: Sequence[StoredRecord], *devices: str) -> tuple[OwnValues, list[str]]:
    """What is left out, and the utterances that were opened."""
    policy = build.policy()
    topics = Topics("nowhere:9", keys, Consents(), [(0, policy)])
    values, _ = told((), provided=False)
    with contextlib.closing(Opener(topics, values, devices)) as opener:
        some = asyncio.run(opener.opened(EXAMPLES, records))
        opener.refuse_other()
    for each in some:
        values.take(EXAMPLES, lambda _kind, _line: None, each)
    return values, [word["says"]["utterance"][0] for word in values.words]


def test_examples_of_her_devices_are_opened_for_the_purpose_of_her_rights(
    outputs: Sequence[Outgoing], tmp_path: Path
) -> None:
    records = sealed(outputs, tmp_path)
    assert records
    assert not any(b"what is on my list" in (each.value or b"") for each in records)
    _, utterances = opened(tmp_path, records, "g1")
    assert "what is on my list" in utterances
    assert opened(tmp_path, records, "g2")[1] == [], "others' are not opened"
    with contextlib.closing(KeyStore(tmp_path)) as store:
        releases = [(each.principal, each.purpose, each.verdict) for each in store.releases()]
    assert releases == [("sightline rights export (privacy-officer)", "dpv:RightsFulfilment", "allow")]


@pytest.mark.parametrize("state", ["expired", "erased"])
def test_what_has_no_key_any_more_is_counted_and_why(
    outputs: Sequence[Outgoing], tmp_path: Path, state: str
) -> None:
    records = sealed(outputs, tmp_path)
    with contextlib.closing(KeyStore(tmp_path)) as store:
        if state == "erased":
            store.erase("w1", build.T0_NS)
        else:
            store.expire(build.T0_NS + 4000 * 86_400 * 10**9)
    values, utterances = opened(tmp_path, records, "g1")
    assert utterances == []
    reason = f"its key is {state}; whose it was is not known any more"
    assert values.left_out == {("example", reason): len(records)}


def test_what_a_zone_owes_to_seal_is_told_as_if_it_were_open(tmp_path: Path) -> None:
    policy = build.sealing("voice-assistant", "home-private")
    records, _ = build.process(build.core(policy), [build.fetch(BATCHES)])
    with contextlib.closing(KeyStore.made(tmp_path)) as store:
        written = asyncio.run(Keys(store).sealed(records))
    lines = dict[bool, Told]()
    topics = Topics("nowhere:9", tmp_path, Consents(), [(0, policy)])
    for is_open, some in ((False, written), (True, records)):
        values, _ = told((), provided=False)
        values.policies = StoredPolicies({policy.version: policy.text})
        of = lines[is_open] = defaultdict(list)

        def put(kind: str, line: bytes, of: Told = of) -> None:
            of[kind].append(orjson.loads(line))

        with contextlib.closing(Opener(topics, values, ["g1"])) as opener:
            for topic in (ZONED, DERIVED, ANSWERS, EXAMPLES):
                on_topic = [stored(each, at) for at, each in enumerate(some) if each.topic == topic]
                for record in asyncio.run(opener.opened(topic, on_topic)):
                    values.take(topic, put, record)
            opener.refuse_other()
        assert values.left_out == {}
    assert lines[True] == lines[False]
    assert {"imu", "voice_query", "situation", "activity", "example"} <= lines[True].keys()
    with contextlib.closing(KeyStore(tmp_path)) as store:
        assert len(store.releases()) == 1
        store.erase("w1", build.T0_NS)
    values, _ = told((), provided=False)
    queries = [
        stored(each)
        for each in written
        if b"glasses.voice_query.v1" in dict(each.headers).values() and is_sealed(each.headers)
    ]
    assert queries
    with contextlib.closing(Opener(topics, values, ["g1"])) as opener:
        assert asyncio.run(opener.opened(ZONED, queries)) == []
    assert values.left_out == {
        ("voice_query", "its key is erased; whose it was is not known any more"): len(queries)
    }


def test_the_key_store_of_another_log_is_refused(outputs: Sequence[Outgoing], tmp_path: Path) -> None:
    records = sealed(outputs, tmp_path / "own")
    KeyStore.made(tmp_path / "other").close()
    with pytest.raises(InputError, match="name the right one with --keys"):
        opened(tmp_path / "other", records, "g1")
    with pytest.raises(InputError, match="found no key store"):
        opened(tmp_path / "none", records, "g1")


def test_a_file_of_a_name_that_is_taken_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "imu.jsonl").write_text("here")
    with Handing(tmp_path, SHIPPED, without_others=True) as handing, pytest.raises(InputError, match="imu"):
        handing.put("imu", b"{}\n")
