"""Three programs verify a receipt, in two languages, and refuse the same: changed bytes, and signed lies."""

from __future__ import annotations

import ast
import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from streams.cli.main import main
from streams.consent.erased import ErasedTime, Scope
from streams.rights.signing import PUBLIC, ReceiptKey
from tests.patience import PATIENCE_S
from tests.rights.receipts import (
    EXAMPLE,
    EXAMPLES,
    GOLDEN,
    GOLDEN_KEY,
    KEY,
    PRIVATE,
    SALT,
    T_NS,
    WEARER,
    built_in_go,
    of_scope,
    pem,
    receipts,
    refused,
)

CONTENT = GOLDEN.read_bytes()
OTHER = ReceiptKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_in_go(tmp_path_factory.mktemp("go"))


def in_go(program: Path, directory: Path, content: bytes) -> subprocess.CompletedProcess[str]:
    (directory / "receipt.json").write_bytes(content)
    arguments = [str(program), str(directory / "receipt.json"), "--key", str(GOLDEN_KEY)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def code_in_go(program: Path, directory: Path, content: bytes) -> int:
    return in_go(program, directory, content).returncode


def dumped(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def signed(edit: Callable[[dict[str, Any]], object] = lambda _: None, key: ReceiptKey = KEY) -> bytes:
    """The example with an edit, and a genuine signature of that, as a liar with the key would make it."""
    file = json.loads(CONTENT)
    edit(file["receipt"])
    private = PRIVATE if key is KEY else Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    file["signature"] = base64.b64encode(private.sign(dumped(file["receipt"]))).decode()
    file["key"] = base64.b64encode(key.public).decode()
    return dumped(file)


def at(number: int, /, **values: Any) -> Callable[[dict[str, Any]], object]:
    """An edit of what is said of a place: 0 is the decisions, 12 the store, 15 the backups, 19 bystanders."""
    return lambda receipt: receipt["places"][number].update(values)


def having(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda receipt: receipt.update(values)


#: Genuinely signed, and not to be believed.
LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a place that nobody names": lambda receipt: receipt["places"].pop(8),
    "a place twice": lambda receipt: receipt["places"].append(receipt["places"][8]),
    "a place twice instead of another": at(8, place="store"),
    "a place that is not known": at(8, place="cellar"),
    "a level that is not known": at(12, level="deleted"),
    "no places": having(places=[]),
    "nothing kept": having(kept=[]),
    "kept for no reason": lambda receipt: receipt["kept"][0].update(reason=""),
    "kept as nothing": lambda receipt: receipt["kept"][0].update(item=""),
    "no reason why it is out of scope": at(19, note=""),
    "no reason why it cannot be verified": at(15, note=""),
    "a claim without a time": at(12, at_ns="0"),
    "a time before the request": at(12, at_ns=str(T_NS - 1)),
    "a time after the end": at(12, at_ns=str(EXAMPLE.finished_ns + 1)),
    "a time with a zero before it": at(12, at_ns="01790000001000000000"),
    "a time that is a number": at(12, at_ns=T_NS + 1),
    "a time that is empty": at(12, at_ns=""),
    "a time of twenty digits": having(finished_ns="17900000340000000070"),
    "a negative time": having(requested_ns="-1"),
    "an end of no time": having(requested_ns="0"),
    "an end after the end of time": having(finished_ns=str(2**62 + 1)),
    "an end beyond 64 bits": having(finished_ns="9" * 19),
    "stopped before it was asked for": having(stopped_ns=str(T_NS - 1)),
    "keys gone before it was stopped": having(keys_destroyed_ns=str(T_NS)),
    "an end before the keys were gone": having(finished_ns=str(T_NS + 10**9)),
    "a negative count": at(12, count=-1),
    "a count of 2^53": at(12, count=2**53),
    "a count beyond 64 bits": at(12, count=2**64 + 1),
    "half a record": at(12, count=0.5),
    "a float that is whole": at(12, count=1.0),
    "a count that is true": at(12, count=True),
    "a count that is nothing": at(12, count=None),
    "a count that is text": at(12, count="1"),
    "a note that is nothing": at(12, note=None),
    "a field more": having(wearer="w1"),
    "a field less": lambda receipt: receipt.pop("scope"),
    "a field of a place more": at(12, wearer="w1"),
    "a field of a place less": lambda receipt: receipt["places"][12].pop("note"),
    "a place that is text": lambda receipt: receipt["places"].append("store"),
    "places that are an object": having(places={}),
    "a scope that is empty": having(scope=""),
    "a policy that is empty": having(policy_version=""),
    "another form": having(form="sightline-receipt-2"),
    "no form": lambda receipt: receipt.pop("form"),
    "an id that is a name": having(id="g1"),
    "capitals in the id": having(id="5D3C0F6E9A7B41D28C1E4F7A90B2D6C3"),
    "a subject that is a name": having(subject=WEARER),
    "letters beyond ASCII": at(12, note="gel\xf6scht"),
    "a line end in a note": at(12, note="a\nb"),
    "a tab in a note": at(12, note="a\tb"),
    "a control character in a note": at(12, note="a\x01b"),
    "a deleted character in a note": at(12, note="a\x7fb"),
    "a control character in a scope": having(scope="\x01"),
    "a control character in a reason": lambda receipt: receipt["kept"][0].update(reason="\x01"),
    "a character without width": at(12, note="a\u200bb"),
    "refitted without models": having(refitted=[]),
    "models without being refitted": at(6, level="absent"),
    "a refitted store": at(12, level="refitted"),
    "a digest that is none": lambda receipt: receipt["refitted"][0].update(digest_after="the same"),
    "a model that is none": lambda receipt: receipt["refitted"][0].update(model="Model of w1"),
    "too long by one byte": at(0, note="x" * (4097 - len(CONTENT))),
}


def raw(before: bytes, after: bytes) -> bytes:
    assert CONTENT.count(before) >= 1
    return CONTENT.replace(before, after, 1)


def with_field(name: str, value: object) -> bytes:
    return dumped({**json.loads(CONTENT), name: value})


_FILE = json.loads(CONTENT)
#: Other bytes than those that were handed out, most of them with the same meaning to some reader.
CHANGED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"receipt",
    "half of it": CONTENT[: len(CONTENT) // 2],
    "a list": b"[" + CONTENT + b"]",
    "a number": b"1",
    "null": b"null",
    "nested deeply": b"[" * 4000,
    "objects nested deeply": b'{"a":' * 800,
    "a receipt nested deeply": b'{"form":"","key":"","receipt":{"a":' + b"[" * 4000,
    "no UTF-8": CONTENT[:-1] + b"\xff}",
    "a byte order mark": b"\xef\xbb\xbf" + CONTENT,
    "twice": CONTENT + CONTENT,
    "a line end behind it": CONTENT + b"\n",
    "a space before it": b" " + CONTENT,
    "a space within": raw(b'"key":', b'"key": '),
    "a space in the receipt": raw(b'"count":0,', b'"count": 0,'),
    "indented": json.dumps(_FILE, indent=1, sort_keys=True).encode(),
    "another order": json.dumps(dict(reversed(_FILE.items())), separators=(",", ":")).encode(),
    "another order in the receipt": dumped({**_FILE, "receipt": 0}).replace(
        b'"receipt":0',
        b'"receipt":' + json.dumps(dict(reversed(_FILE["receipt"].items())), separators=(",", ":")).encode(),
    ),
    "a name twice": raw(b'"key":', b'"form":"sightline-receipt-1","key":'),
    "a name twice in the receipt": raw(b'"scope":"all"', b'"scope":"all","scope":"all"'),
    "a name twice, first another value": raw(b'"scope":"all"', b'"scope":"none","scope":"all"'),
    "an escape": raw(b'"scope":"all"', b'"scope":"\\u0061ll"'),
    "an escaped slash": raw(b"training/intent", b"training\\/intent"),
    "minus zero": raw(b'"count":0,', b'"count":-0,'),
    "a float": raw(b'"count":0,', b'"count":0.0,'),
    "an exponent": raw(b'"count":0,', b'"count":0e0,'),
    "not a number": raw(b'"count":0,', b'"count":NaN,'),
    "another count": raw(b'"count":3057', b'"count":3058'),
    "another level": raw(b'"level":"not-verifiable"', b'"level":"absent"'),
    "a field more": with_field("note", ""),
    "a field less": dumped({name: value for name, value in _FILE.items() if name != "form"}),
    "another form outside": with_field("form", "sightline-receipt-2"),
    "another key claimed": with_field("key", base64.b64encode(OTHER.public).decode()),
    "no key claimed": with_field("key", ""),
    "a key that is none": with_field("key", "!"),
    "no signature": with_field("signature", ""),
    "a signature that is none": with_field("signature", "A" * 88),
    "a signature that is a number": with_field("signature", 1),
    "a shorter signature": with_field("signature", _FILE["signature"][:-4]),
    "base64 with other bits at its end": with_field("key", _FILE["key"].replace("Mbg=", "Mbh=")),
    "base64 for addresses": with_field("key", _FILE["key"].replace("/", "_")),
    "base64 with a line end": with_field("signature", _FILE["signature"] + "\n"),
    "base64 with a space": with_field("signature", " " + _FILE["signature"]),
    "base64 without its padding": with_field("key", _FILE["key"].rstrip("=")),
    "the receipt as text": with_field("receipt", dumped(_FILE["receipt"]).decode()),
    "signed by a key of their own": signed(key=OTHER),
    "their own signature, our key claimed": dumped(
        {**json.loads(signed(key=OTHER)), "key": _FILE["key"]},
    ),
}


def test_the_control_is_valid(go: Path, tmp_path: Path) -> None:
    """What the edits below are made of is valid without an edit, so each is refused for what it changes."""
    assert signed() == CONTENT
    assert refused(CONTENT) == ("", "")
    assert code_in_go(go, tmp_path, CONTENT) == 0
    assert refused(signed(key=OTHER), OTHER.public) == ("", "")


def test_a_receipt_of_a_place_is_valid_and_names_no_time_at_which_she_was_there(
    go: Path, tmp_path: Path
) -> None:
    span = ErasedTime(T_NS - 10**15, T_NS - 10**14)
    content = KEY.sign(of_scope(Scope(T_NS - 10**15, 0, "home", (span,), (3, 4))), (WEARER,))
    assert refused(content) == ("", "")
    said = in_go(go, tmp_path, content)
    assert (said.returncode, "scope: place home from 2026-09-" in said.stdout) == (0, True)
    receipt = json.loads(content)["receipt"]
    assert str(span.until_ns) not in content.decode()
    [examples] = [each for each in receipt["places"] if each["place"] == "glasses.examples"]
    assert "elsewhere is unreadable too" in examples["note"]
    assert "withdrawal" not in content.decode(), "nothing was withdrawn"
    whole = json.loads(KEY.sign(of_scope(), ()))["receipt"]
    assert "withdrawal" in whole["kept"][0]["item"]


@pytest.mark.parametrize("edit", LIES.values(), ids=list(LIES))
def test_a_lie_is_refused_whoever_signed_it(
    edit: Callable[[dict[str, Any]], object], go: Path, tmp_path: Path
) -> None:
    content = signed(edit)
    assert content != CONTENT
    assert all(refused(content))
    assert code_in_go(go, tmp_path, content) == 1


@pytest.mark.parametrize("content", CHANGED.values(), ids=list(CHANGED))
def test_other_bytes_are_refused_whatever_they_mean(content: bytes, go: Path, tmp_path: Path) -> None:
    assert content != CONTENT
    assert all(refused(content))
    assert code_in_go(go, tmp_path, content) == 1


@pytest.mark.parametrize(
    ("content", "our_words", "their_words"),
    [
        (CHANGED["a name twice in the receipt"], "no name twice", "it has a name twice in one object"),
        (CHANGED["a line end behind it"], "no line end", "bytes other than printable ASCII"),
        (CHANGED["a space within"], "no space", "its bytes are not the canonical ones"),
        (CHANGED["a float"], "found a signature of something else", "and a receipt only has integers"),
        (CHANGED["another count"], "found a signature of something else", "it was changed since"),
        (CHANGED["signed by a key of their own"], "another key signed it", "another key signed it"),
        (signed(LIES["another form"]), "found another form than sightline-receipt-1", "form"),
        (
            signed(LIES["a place that nobody names"]),
            "nothing about glasses.notices",
            "every place exactly once",
        ),
        (
            signed(LIES["no reason why it is out of scope"]),
            "why it is out-of-scope",
            "say why it is out-of-scope",
        ),
    ],
)
def test_a_refusal_says_why(
    content: bytes, our_words: str, their_words: str, go: Path, tmp_path: Path
) -> None:
    ours, example = refused(content)
    assert our_words in ours
    assert their_words in example
    assert their_words in in_go(go, tmp_path, content).stdout


def test_a_bit_that_flips_is_refused() -> None:
    """A bit of each byte; which one differs from byte to byte."""
    for number in range(len(CONTENT)):
        flipped = bytearray(CONTENT)
        flipped[number] ^= 1 << number % 8
        assert all(refused(bytes(flipped))), number


@given(st.data())
def test_bits_that_flip_anywhere_are_refused(data: st.DataObject) -> None:
    content = KEY.sign(data.draw(receipts()), [])
    flipped = bytearray(content)
    for number in data.draw(st.sets(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=3)):
        flipped[number // 8] ^= 1 << number % 8
    assert all(refused(bytes(flipped)))


def test_bits_that_flip_are_refused_in_go(go: Path, tmp_path: Path) -> None:
    for number in range(0, 8 * len(CONTENT), 211):
        flipped = bytearray(CONTENT)
        flipped[number // 8] ^= 1 << number % 8
        assert code_in_go(go, tmp_path, bytes(flipped)) == 1, number


def test_the_example_in_python_imports_nothing_of_ours() -> None:
    tree = ast.parse((EXAMPLES / "verify_receipt.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"cryptography"}


def test_the_example_in_go_is_one_file_of_the_standard_library() -> None:
    text = (EXAMPLES / "verify_receipt.go").read_text(encoding="utf-8")
    imported = text.partition("import (")[2].partition(")")[0].split()
    assert imported
    assert not any("." in name for name in imported), "modules of others have a host in their name"
    if (gofmt := shutil.which("gofmt")) is None:
        pytest.skip("there is no gofmt here: the form of docs/examples/verify_receipt.go was not looked at")
    listed = subprocess.run(
        [gofmt, "-l", str(EXAMPLES / "verify_receipt.go")],
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert listed.stdout == b""


def command(program: str, go: Path) -> list[str]:
    return {
        "sightline": [sys.executable, "-m", "streams.cli", "rights", "verify"],
        "python": [sys.executable, "-I", str(EXAMPLES / "verify_receipt.py")],
        "go": [str(go)],
    }[program]


@pytest.mark.parametrize("program", ["sightline", "python", "go"])
def test_each_program_says_the_same_and_ends_the_same(program: str, go: Path, tmp_path: Path) -> None:
    (changed := tmp_path / "changed.json").write_bytes(CHANGED["another level"])
    (foreign := tmp_path / "foreign.pub").write_bytes(pem(OTHER.public))
    (no_key := tmp_path / "no.pub").write_bytes(CONTENT)
    hers = ("--subject", WEARER, "--salt", SALT.hex())
    key = ("--key", str(GOLDEN_KEY))
    for code, words, arguments in (
        (0, "signed by the", (str(GOLDEN), *key)),
        (0, "", (str(GOLDEN), *key, *hers)),
        (1, "another person", (str(GOLDEN), *key, "--subject", "w2", "--salt", SALT.hex())),
        (1, "another person", (str(GOLDEN), *key, "--subject", WEARER, "--salt", "00" * 32)),
        (1, "it was changed", (str(changed), *key)),
        (1, "another key", (str(GOLDEN), "--key", str(foreign))),
        (2, "", (str(GOLDEN), *key, "--subject", WEARER)),
        (2, "", (str(GOLDEN), *key, "--salt", SALT.hex())),
        (2, "", (str(GOLDEN), *key, "--subject", WEARER, "--salt", "00")),
        (2, "", (str(GOLDEN), *key, "--subject", WEARER, "--salt", "salt")),
        (2, "no.pub", (str(GOLDEN), "--key", str(no_key))),
        (2, "none.pub", (str(GOLDEN), "--key", str(tmp_path / "none.pub"))),
        (2, "none.json", (str(tmp_path / "none.json"), *key)),
        (2, "", ()),
        (2, "", (str(GOLDEN), *key, "--unknown")),
    ):
        ended = subprocess.run(
            [*command(program, go), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ended.returncode == code, (arguments, ended.stdout, ended.stderr)
        assert words in ended.stdout + ended.stderr, (arguments, ended.stdout, ended.stderr)
        assert "Traceback" not in ended.stderr
        if code == 0:
            assert all(f"{each.place}" in ended.stdout for each in EXAMPLE.places)
            assert WEARER not in ended.stdout.replace(str(GOLDEN), "").split()


def test_the_command_trusts_the_key_beside_the_key_store(tmp_path: Path) -> None:
    (tmp_path / PUBLIC).write_bytes(GOLDEN_KEY.read_bytes())
    arguments = ["rights", "verify", str(GOLDEN), "--keys", str(tmp_path), "--json"]
    valid = CliRunner().invoke(main, arguments)
    assert valid.exit_code == 0, valid.output
    told = json.loads(valid.stdout)
    assert (told["valid"], told["subject_checked"], told["id"]) == (True, False, EXAMPLE.id)
    assert told["finished_ns"] == EXAMPLE.finished_ns
    (tmp_path / PUBLIC).write_bytes(pem(OTHER.public))
    other = CliRunner().invoke(main, arguments)
    assert other.exit_code == 1
    assert json.loads(other.stdout)["valid"] is False
    assert "another key signed it than the trusted one" in json.loads(other.stdout)["reason"]
