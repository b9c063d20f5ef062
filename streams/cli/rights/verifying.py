"""`sightline rights verify`: whether a receipt of an erasure is what the trusted key signed."""

from __future__ import annotations

import hmac
import sys
from pathlib import Path

import click
from msgspec import to_builtins

from streams.cli.output import emit_facts, emit_json, emit_rows, json_option, keys_option
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.printing import say
from streams.rights.receipt import SALT_BYTES, InvalidReceiptError, Receipt, subject_of
from streams.rights.signing import PUBLIC, public_key, read_file
from streams.rights.signing import verify as verified

_TIMES = {
    "requested": "requested_ns",
    "stopped": "stopped_ns",
    "keys destroyed": "keys_destroyed_ns",
    "finished": "finished_ns",
}


@click.command("verify")
@click.argument("receipt", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File of the trusted public key; {PUBLIC} beside the key store if left out.",
)
@keys_option
@click.option("--subject", metavar="PSEUDONYM", help="Also check that the receipt is of this wearer.")
@click.option("--salt", metavar="HEX", help="What was handed to that wearer with the receipt.")
@json_option
def verify(
    *, receipt: Path, key: Path | None, keys: Path, subject: str | None, salt: str | None, as_json: bool
) -> None:
    """Check the signed RECEIPT of an erasure: who signed it, that it is whole, and whom it is of.

    It says what was done in each place, and what was kept. Exit code 1 if it is not what the trusted key
    signed. Strangers check it without Sightline, with docs/examples/verify_receipt.py or verify_receipt.go.
    """
    expected = _subject(subject, salt)
    public = public_key(key or keys / PUBLIC)
    content = read_file(receipt)
    try:
        valid = verified(content, public)
        _recognise(valid, expected)
    except InvalidReceiptError as error:
        if as_json:
            emit_json({"valid": False, "reason": str(error)})
        else:
            say(f"{receipt}: not valid: {error}")
        sys.exit(1)
    if as_json:
        emit_json({"valid": True, "subject_checked": bool(expected), **to_builtins(valid)})
    else:
        _say(valid, len(content), bool(expected))


def _subject(subject: str | None, salt: str | None) -> str:
    """The person that the receipt has to be of; empty if that is not asked."""
    if subject is None and salt is None:
        return ""
    try:
        key = bytes.fromhex(salt or "")
    except ValueError:
        key = b""
    if not subject or len(key) != SALT_BYTES:
        raise InputError(
            f"--subject, --salt: found no pseudonym with a salt of {2 * SALT_BYTES} hexadecimal digits,"
            " expected both as they were handed out with the receipt"
        )
    return subject_of(subject, key)


def _recognise(receipt: Receipt, expected: str) -> None:
    """InvalidReceiptError if a person is expected and it is of another one."""
    if expected and not hmac.compare_digest(expected, receipt.subject):
        raise InvalidReceiptError(
            "receipt: found another person than the pseudonym and salt give, expected who was erased"
        )


def _say(receipt: Receipt, length: int, recognised: bool) -> None:
    emit_facts(
        {
            "valid": f"signed by the trusted key, {length:,} bytes",
            "erasure": receipt.id,
            "of": "the wearer with that pseudonym and salt" if recognised else "a wearer who is not named",
            "scope": receipt.scope,
            "policy": receipt.policy_version,
            **{name: rfc3339(getattr(receipt, field)) for name, field in _TIMES.items()},
        }
    )
    places = [
        {
            "place": each.place,
            "level": each.level,
            "count": each.count,
            "since": rfc3339(each.at_ns) if each.at_ns else "",
            "note": each.note,
        }
        for each in receipt.places
    ]
    for title, rows in (("places", places), ("kept", receipt.kept), ("refitted", receipt.refitted)):
        if rows:
            say()
            say(title)
            emit_rows(rows)
    say()
    say("A signature proves who says this and that nobody changed it, not that it is true.")
