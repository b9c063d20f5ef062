"""A receipt is complete or not signed, is written in one way, and names nobody."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.limits import RECEIPT_BYTES_MAX, RECEIPT_COUNT_MAX
from streams.policy.rules import SecondOrder
from streams.rights.receipt import (
    PLACES,
    InvalidReceiptError,
    KeptItem,
    PlaceOutcome,
    Receipt,
    new_salt,
    plain,
    read,
    subject_of,
    written,
)
from streams.rights.signing import verify
from streams.sealing.erasures import Done, Requested
from streams.topology import DERIVED, POLICIES, TOPICS, ZONED
from streams.worker.erasure_receipt import Sealed, receipt_of, sealed_since
from tests import build
from tests.patience import PATIENCE_S
from tests.rights.receipts import (
    EXAMPLE,
    GOLDEN,
    GOLDEN_KEY,
    KEY,
    SALT,
    STEPS,
    T_NS,
    WEARER,
    example,
    pem,
    receipts,
    refused,
)


def signed_part(content: bytes) -> bytes:
    """What is signed, as it stands in the file: cut out, not written again."""
    return content.partition(b'"receipt":')[2].rpartition(b',"signature":')[0]


def test_the_example_is_written_as_it_was() -> None:
    assert KEY.sign(EXAMPLE, [WEARER, "g1"]) == GOLDEN.read_bytes()
    assert pem(KEY.public) == GOLDEN_KEY.read_bytes()
    assert signed_part(GOLDEN.read_bytes()) == written(EXAMPLE)


def test_openssl_says_that_the_signature_is_one_of_the_receipt(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here: the signature was compared with no other implementation")
    content = GOLDEN.read_bytes()
    (tmp_path / "signature").write_bytes(base64.b64decode(json.loads(content)["signature"]))
    for part, code in ((signed_part(content), 0), (signed_part(content)[:-1] + b" ", 1)):
        (tmp_path / "receipt").write_bytes(part)
        arguments = ["-verify", "-pubin", "-inkey", str(GOLDEN_KEY), "-rawin", "-in", "receipt"]
        ended = subprocess.run(
            [openssl, "pkeyutl", *arguments, "-sigfile", "signature"],
            cwd=tmp_path,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == code, ended.stderr


#: RFC 8785 by the language that it is made for: its own JSON.stringify, with sorted names.
IN_JAVASCRIPT = """
const sorted = (value) => Array.isArray(value) ? value.map(sorted) : value && typeof value === "object"
  ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])])) : value;
process.stdout.write(JSON.stringify(sorted(JSON.parse(require("fs").readFileSync(0, "utf8")))));
"""
HARD = replace(
    EXAMPLE,
    scope='since "then" \\ / <&> ~',
    kept=(KeptItem(item='a "quoted" \\', reason="<&>", count=RECEIPT_COUNT_MAX),),
)


@pytest.mark.parametrize("receipt", [EXAMPLE, HARD], ids=["the example", "one that is hard to write"])
def test_javascript_writes_the_same_bytes(receipt: Receipt) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here: the canonical form was compared with no other RFC 8785")
    content = KEY.sign(receipt, [])
    mixed = json.dumps(dict(reversed(json.loads(content).items())), indent=2).encode()
    ended = subprocess.run(
        [node, "-e", IN_JAVASCRIPT], input=mixed, capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert ended.stdout == content


@given(receipts())
def test_what_is_signed_is_read_again(receipt: Receipt) -> None:
    content = KEY.sign(receipt, [])
    assert verify(content, KEY.public) == receipt
    assert example(content) == ""
    assert read(json.loads(signed_part(content))) == receipt
    assert len(content) <= RECEIPT_BYTES_MAX


def test_every_topic_with_data_of_wearers_is_a_place() -> None:
    assert {topic.name for topic in TOPICS} - {POLICIES} <= set(PLACES)


def changed(place: str, **changes: Any) -> Receipt:
    """The example with another outcome at a place."""
    places = (replace(each, **changes) if each.place == place else each for each in EXAMPLE.places)
    return replace(EXAMPLE, places=tuple(places))


def without(place: str) -> tuple[PlaceOutcome, ...]:
    return tuple(each for each in EXAMPLE.places if each.place != place)


#: What may not be signed, and words of the sentence that says so.
NOT_SIGNED: dict[str, tuple[Receipt, str]] = {
    **{
        f"silence about {place}": (replace(EXAMPLE, places=without(place)), f"found nothing about {place}, ")
        for place in PLACES
    },
    "a place twice": (replace(EXAMPLE, places=(*EXAMPLE.places, EXAMPLE.places[3])), "more than once"),
    "out of scope without a reason": (changed("bystanders", note=""), "expected why it is out-of-scope"),
    "not verifiable without a reason": (changed("backups", note=""), "expected why it is not-verifiable"),
    "a claim without a time": (changed("store", at_ns=0), "expected since when it is rewritten"),
    "a time before the request": (changed("store", at_ns=T_NS - 1), "store: found a time outside"),
    "a time after the end": (changed("store", at_ns=EXAMPLE.finished_ns + 1), "store: found a time outside"),
    "stopped before it was asked for": (replace(EXAMPLE, stopped_ns=T_NS - 1), "stopped_ns: found a time"),
    "an end before the keys went": (replace(EXAMPLE, finished_ns=T_NS + 2), "finished_ns: found a time"),
    "asked for at no time": (replace(EXAMPLE, requested_ns=0), "requested_ns: found a time before nothing"),
    "after the end of time": (replace(EXAMPLE, finished_ns=2**62 + 1), "the end of time: found"),
    "refitted, but no model": (replace(EXAMPLE, refitted=()), "found 0 models where"),
    "models, but not refitted": (changed("glasses.models", level="absent"), "is not refitted"),
    "a refitted store": (changed("store", level="refitted"), "that of glasses.models alone"),
    "a digest that is none": (
        replace(EXAMPLE, refitted=(replace(EXAMPLE.refitted[0], digest_after="equal"),)),
        "two digests",
    ),
    "nothing is kept": (replace(EXAMPLE, kept=()), "kept: found nothing"),
    "kept without a reason": (replace(EXAMPLE, kept=(KeptItem(item="x", reason=""),)), "expected both"),
    "an id that is none": (replace(EXAMPLE, id="g1"), "id: found another form"),
    "a person by name": (replace(EXAMPLE, subject="w1"), "subject: found another form"),
    "no scope": (replace(EXAMPLE, scope=""), "scope: found nothing"),
    "no policy": (replace(EXAMPLE, policy_version=""), "policy_version: found nothing"),
    "a negative count": (changed("store", count=-1), "places: store: count: found -1"),
    "a count that JSON cannot hold": (changed("store", count=2**53), "count: found 9007199254740992"),
    "other writing": (changed("store", note="gel\xf6scht"), "printable ASCII"),
    "a deleted character": (changed("store", note="a\x7fb"), "printable ASCII"),
    "two lines": (changed("store", note="a\nb"), "printable ASCII"),
}  # fmt: skip


@pytest.mark.parametrize(("receipt", "words"), NOT_SIGNED.values(), ids=list(NOT_SIGNED))
def test_what_is_incomplete_or_contradicts_itself_is_not_signed(receipt: Receipt, words: str) -> None:
    with pytest.raises(InvalidReceiptError) as error:
        KEY.sign(receipt, [])
    assert words in str(error.value)


def test_a_receipt_has_four_kilobytes_and_not_a_byte_more() -> None:
    room = RECEIPT_BYTES_MAX - len(GOLDEN.read_bytes())
    largest = KEY.sign(changed("decisions", note="x" * room), [])
    assert len(largest) == RECEIPT_BYTES_MAX
    assert refused(largest) == ("", "")
    with pytest.raises(InvalidReceiptError, match=r"found 4,097 bytes, expected at most 4,096; shorten"):
        KEY.sign(changed("decisions", note="x" * (room + 1)), [])


@pytest.mark.parametrize(
    ("policy", "says"),
    [("keep", "learned from as before"), ("review", "held until"), ("drop", "not learned from any more")],
)
def test_examples_of_others_made_with_its_models_are_named_among_what_is_kept(
    policy: SecondOrder, says: str
) -> None:
    def made(count: int) -> Receipt:
        steps = {**STEPS, "second": Done(T_NS + 8 * 10**9, count)}
        return receipt_of(
            Requested(7, "", WEARER, steps),
            Done(T_NS + 63 * 10**9, 0),
            wearer=WEARER,
            salt=bytes(32),
            policy_version="7f2dc9c7394e41b8",
            second_order=policy,
            refitted=(),
        )

    [item] = [item for item in made(41).kept if "examples of others" in item.item]
    assert item.count == 41
    assert says in item.reason
    assert not [item for item in made(0).kept if "examples of others" in item.item]
    assert len(KEY.sign(made(41), ())) <= RECEIPT_BYTES_MAX


def signed(sealed: dict[str, Sealed]) -> Receipt:
    return receipt_of(
        Requested(7, "", WEARER, STEPS),
        Done(T_NS + 63 * 10**9, 0),
        wearer=WEARER,
        salt=bytes(32),
        policy_version="7f2dc9c7394e41b8",
        second_order="keep",
        refitted=(),
        sealed=sealed,
    )


def test_topics_where_all_was_sealed_are_unreadable_and_wait_for_no_retention() -> None:
    places = {each.place: each for each in signed({"glasses.zoned": "all", "glasses.derived": "some"}).places}
    before = {each.place: each for each in signed({}).places}
    zoned, keys = places["glasses.zoned"], STEPS["unreadable"]
    assert (zoned.level, zoned.count, zoned.at_ns, zoned.note) == (
        "unreadable",
        keys.things,
        keys.at_ns,
        "keys",
    )
    derived = places["glasses.derived"]
    assert (derived.level, derived.at_ns) == ("stopped", STEPS["stopped"].at_ns)
    assert derived.note == "what is sealed is unreadable, the rest gone by retention within 7 days"
    changed_places = {place for place in places if places[place] != before[place]}
    assert changed_places == {"glasses.zoned", "glasses.derived"}
    assert before["glasses.zoned"].note == "gone by retention within 24 h"
    assert (
        len(KEY.sign(signed({"glasses.zoned": "some", "glasses.derived": "some"}), ())) <= RECEIPT_BYTES_MAX
    )


def test_a_topic_is_called_sealed_only_if_nothing_on_it_was_tagged_openly() -> None:
    hour_ns, now_ns = 3_600 * 10**9, T_NS
    open_, spoken = build.policy(), build.sealing("voice-assistant")
    whole = build.sealing(*(zone.name for zone in open_.zones))
    for in_force, zoned in (
        ([(0, open_)], "nothing"),
        ([(0, spoken)], "some"),
        ([(0, whole)], "all"),
        ([(0, open_), (now_ns - 23 * hour_ns, whole)], "some"),
        ([(0, open_), (now_ns - 25 * hour_ns, whole)], "all"),
        ([(0, whole), (now_ns - hour_ns, open_)], "some"),
        ([(0, whole), (now_ns - 25 * hour_ns, open_)], "nothing"),
    ):
        assert sealed_since(ZONED, in_force, now_ns) == zoned
    # The other topic keeps seven days.
    assert sealed_since(DERIVED, [(0, open_), (now_ns - 25 * hour_ns, whole)], now_ns) == "some"
    assert sealed_since(DERIVED, [(0, open_), (now_ns - 169 * hour_ns, whole)], now_ns) == "all"


@pytest.mark.parametrize(
    "receipt",
    [
        changed("store", note="edges of w1 are rewritten"),
        changed("device", note="journal of g1/imu-right"),
        replace(EXAMPLE, scope="place home of (w1)"),
        replace(EXAMPLE, policy_version="w1"),
        replace(EXAMPLE, kept=(KeptItem(item="glasses.consents/w1/7", reason="proof"),)),
        replace(EXAMPLE, kept=(KeptItem(item="proof", reason="g1~2 has it"),)),
        replace(EXAMPLE, refitted=(replace(EXAMPLE.refitted[0], model="training/w1/3"),)),
    ],
)
def test_a_receipt_with_the_name_of_a_wearer_or_a_device_is_not_signed(receipt: Receipt) -> None:
    assert KEY.sign(receipt, ["w2", "x1"]), "the control: other names do not matter"
    with pytest.raises(InvalidReceiptError, match="name of a wearer or a device") as error:
        KEY.sign(receipt, ["w1", "g1"])
    assert "w1" not in str(error.value).replace(receipt.id, "")
    assert "g1" not in str(error.value).replace(receipt.id, "")


WORDS = str(EXAMPLE)


@given(
    # No word of the receipt's own texts, which somebody may be called like.
    st.text("ghijklmnopqrstuvwxyz", min_size=6, max_size=20).filter(lambda name: name not in WORDS),
    st.binary(min_size=32, max_size=32),
)
def test_no_pseudonym_is_in_the_bytes(canary: str, salt: bytes) -> None:
    content = KEY.sign(replace(EXAMPLE, subject=subject_of(canary, salt)), [canary])
    encodings = (
        canary.encode(),
        canary.encode().hex().encode(),
        base64.b64encode(canary.encode()).rstrip(b"="),
    )
    assert not any(each in content for each in encodings)


def test_only_who_has_the_salt_recognises_herself() -> None:
    """The oracle is what `openssl dgst -sha256 -mac HMAC` gives, written down once."""
    assert subject_of(WEARER, SALT) == "65e4e47895e005f9a86fc6d99b1dc590db7b0d56c9b23b78a5cc99aee64cfce3"
    assert subject_of(WEARER, SALT) != subject_of("w2", SALT)
    assert subject_of(WEARER, SALT) != subject_of(WEARER, new_salt())
    with pytest.raises(ValueError, match=r"salt: found 0 bytes, expected 32"):
        subject_of(WEARER, b"")
    assert len({new_salt() for _ in range(9)}) == 9


def test_plain_values_have_no_integer_that_javascript_would_round() -> None:
    def numbers(value: Any) -> list[int]:
        if isinstance(value, dict | list | tuple):
            inner = value.values() if isinstance(value, dict) else value
            return [number for each in inner for number in numbers(each)]
        return [value] if isinstance(value, int) else []

    assert numbers(plain(HARD))
    assert max(numbers(plain(HARD))) <= 2**53 - 1
