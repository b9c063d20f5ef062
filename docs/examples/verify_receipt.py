"""Checks the receipt of an erasure, without Sightline: one file, Python 3.11 and the package cryptography.

    python verify_receipt.py RECEIPT.json --key PUBLIC_KEY_FILE [--subject PSEUDONYM --salt HEX]

Exit codes: 0 valid, 1 not valid, 2 wrong arguments or files.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

FORM = "sightline-receipt-1"
BYTES_MAX, INTEGER_MAX, TIME_NS_MAX = 4096, 2**53 - 1, 2**62
PLACES = [
    *("decisions", "glasses.captured", "glasses.zoned", "glasses.derived", "glasses.answers"),
    *("glasses.examples", "glasses.models", "glasses.consents", "glasses.notices", "glasses.state"),
    *("glasses.rejected", "glasses.lineage", "store", "reads", "logs", "backups", "device", "exports"),
    *("other-consumers", "bystanders"),
]
NO_CLAIM = ("not-verifiable", "out-of-scope")
LEVELS = ("stopped", "hidden", "unreadable", "rewritten", "absent", "refitted", *NO_CLAIM)
TIMES = ("requested_ns", "stopped_ns", "keys_destroyed_ns", "finished_ns")
#: Printable ASCII, so that every language writes it alike.
TEXT, SOME_TEXT = "[ -~]*", "[ -~]+"
#: Name to what its value must look like; a string is a pattern, a type is a type.
ENVELOPE = {"form": re.escape(FORM), "key": TEXT, "receipt": dict, "signature": TEXT}
RECEIPT = {
    "form": re.escape(FORM),
    "id": "[0-9a-f]{32}",
    "subject": "[0-9a-f]{64}",
    "scope": SOME_TEXT,
    "policy_version": SOME_TEXT,
    "places": list,
    "kept": list,
    "refitted": list,
    **dict.fromkeys(TIMES, "[1-9][0-9]{0,18}"),
}
PLACE = {"place": SOME_TEXT, "level": SOME_TEXT, "count": int, "at_ns": "0|[1-9][0-9]{0,18}", "note": TEXT}
KEPT = {"item": SOME_TEXT, "reason": SOME_TEXT, "count": int}
REFITTED = {
    "model": "[a-z0-9/.-]{1,100}",
    "digest_before": "[0-9a-f]{16,64}",
    "digest_after": "[0-9a-f]{16,64}",
}


class NotValid(Exception):  # noqa: N818 - it is no error of this program
    """Why a receipt is not believed."""


def say(sentence: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{sentence}\n")


def expect(holds: object, sentence: str) -> None:
    """Raise NotValid with a sentence unless something holds."""
    if not holds:
        raise NotValid(sentence)


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; readers disagree about one that has a name twice, so it is refused."""
    expect(len(dict(pairs)) == len(pairs), "it has a name twice in one object")
    return dict(pairs)


def no_float(text: str) -> Any:
    """Refuse a number that is no plain integer."""
    raise NotValid(f"it has the number {text}, and a receipt only has integers")


def canonical(values: dict[str, Any]) -> bytes:
    """The bytes of RFC 8785 (JCS) for objects, lists, printable ASCII and integers up to 2^53 - 1."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parsed(content: bytes) -> dict[str, Any]:
    """The values of the file, if its bytes are the canonical ones."""
    expect(len(content) <= BYTES_MAX, f"it has more than {BYTES_MAX} bytes")
    expect(all(32 <= byte < 127 for byte in content), "it has bytes other than printable ASCII")
    try:
        values = json.loads(content, object_pairs_hook=once, parse_float=no_float, parse_constant=no_float)
    except (ValueError, RecursionError):
        raise NotValid("it is no JSON") from None
    expect(isinstance(values, dict), "it is no object of JSON")
    expect(
        canonical(values) == content, "its bytes are not the canonical ones: spaces, order or escapes differ"
    )
    return dict(values)


def shaped(values: Any, shape: dict[str, Any], where: str) -> None:
    """Refuse an object that has other names or values than its shape says."""
    expect(type(values) is dict and values.keys() == shape.keys(), f"{where}: other names than {[*shape]}")
    for name, kind in shape.items():
        value = values[name]
        if isinstance(kind, str):
            expect(type(value) is str and re.fullmatch(kind, value), f"{where}: {name} has another form")
        else:
            expect(type(value) is kind, f"{where}: {name} is no {kind.__name__}")
            expect(kind is not int or 0 <= value <= INTEGER_MAX, f"{where}: {name} is out of range")


def check_signature(signed: dict[str, Any], trusted: Ed25519PublicKey) -> None:
    """Refuse what the trusted key did not sign; the key in the file is only a claim."""
    try:
        key, signature = base64.b64decode(signed["key"]), base64.b64decode(signed["signature"])
    except ValueError:
        raise NotValid("its key or signature is no base64") from None
    for name, value in (("key", key), ("signature", signature)):
        expect(base64.b64encode(value).decode() == signed[name], f"its {name} is no base64 of RFC 4648")
    expect(key == trusted.public_bytes_raw(), "another key signed it than the one that you trust")
    try:
        trusted.verify(signature, canonical(signed["receipt"]))
    except InvalidSignature:
        raise NotValid("the signature is not one of this receipt: it was changed since") from None


def check_content(receipt: dict[str, Any]) -> None:
    """Refuse a receipt that is incomplete or contradicts itself, whoever signed it."""
    shaped(receipt, RECEIPT, "the receipt")
    for name, shape in (("places", PLACE), ("kept", KEPT), ("refitted", REFITTED)):
        for each in receipt[name]:
            shaped(each, shape, name)
    named = sorted(each["place"] for each in receipt["places"])
    expect(named == sorted(PLACES), "it does not name every place exactly once")
    expect(receipt["kept"], "it does not say what is kept")
    times = [int(receipt[name]) for name in TIMES]
    expect([*times, TIME_NS_MAX] == sorted([*times, TIME_NS_MAX]), f"its times are not in the order {TIMES}")
    for each in receipt["places"]:
        at_ns, level, where = int(each["at_ns"]), each["level"], each["place"]
        expect(level in LEVELS, f"{where}: {level} is no level")
        expect(level not in NO_CLAIM or each["note"], f"{where}: it does not say why it is {level}")
        expect(at_ns or level in NO_CLAIM, f"{where}: it does not say since when it is {level}")
        expect(not at_ns or times[0] <= at_ns <= times[-1], f"{where}: its time is outside the erasure")
        expect(level != "refitted" or where == "glasses.models", f"{where}: only models are refitted")
    refitted = any(each["level"] == "refitted" for each in receipt["places"])
    expect(refitted == bool(receipt["refitted"]), "models without digests, or digests without models")


def tell(receipt: dict[str, Any]) -> None:
    """Say in sentences what a valid receipt says."""
    moments = [datetime.fromtimestamp(int(receipt[name]) // 10**9, UTC).isoformat() for name in TIMES]
    say(f"Erasure {receipt['id']}, scope: {receipt['scope']}, policy {receipt['policy_version']}.")
    say("Requested {}, stopped {}, keys destroyed {}, finished {}.".format(*moments))
    for each in receipt["places"]:
        say(f"{each['place']}: {each['level']}, {each['count']}{each['note'] and '; ' + each['note']}")
    for each in receipt["kept"]:
        say(f"Kept: {each['item']}, {each['count']}, because of {each['reason']}")
    for each in receipt["refitted"]:
        say(f"Refitted: {each['model']}, digest {each['digest_before']}, now {each['digest_after']}")
    say("A signature proves who says this and that nobody changed it, not that it is true.")


def verified(content: bytes, key: Ed25519PublicKey, subject: str = "") -> dict[str, Any]:
    """The receipt in the content of a file; NotValid if it is not to be believed."""
    signed = parsed(content)
    shaped(signed, ENVELOPE, "the file")
    check_signature(signed, key)
    check_content(signed["receipt"])
    expect(subject in ("", signed["receipt"]["subject"]), "it is of another person")
    return dict(signed["receipt"])


def main(arguments: Sequence[str]) -> int:
    """Run as a program; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check the receipt of an erasure.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--key", type=Path, required=True, help="the public key that you trust, PEM")
    parser.add_argument("--subject", default="", help="the pseudonym of the person")
    parser.add_argument("--salt", default="", help="what was handed to that person with the receipt")
    given = parser.parse_args(arguments)
    subject = ""
    if given.subject or given.salt:
        if not given.subject or not re.fullmatch("[0-9a-fA-F]{64}", given.salt):
            parser.error("--subject and --salt (64 hexadecimal digits) belong together")
        subject = hmac.new(bytes.fromhex(given.salt), given.subject.encode(), hashlib.sha256).hexdigest()
    try:
        content, pem = given.receipt.read_bytes(), given.key.read_bytes()
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        parser.error(f"{given.key}: no public key of Ed25519 in PEM")
    try:
        receipt = verified(content, key, subject)
    except NotValid as why:
        say(f"{given.receipt}: NOT VALID: {why}.")
        return 1
    whose = "of this person" if subject else "of somebody whom it does not name"
    say(f"{given.receipt}: valid, signed by the key in {given.key}, {whose}.")
    tell(receipt)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
