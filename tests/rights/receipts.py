"""Receipts as tests need them: the one of the examples, drawn ones, and the three programs that verify.

`python -m tests.rights.receipts` writes the example that docs/rights.md shows.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st

from streams.consent.erased import Scope
from streams.limits import RECEIPT_COUNT_MAX, TIME_NS_MAX
from streams.rights.receipt import (
    LEVELS,
    PLACES,
    UNCLAIMED,
    InvalidReceiptError,
    KeptItem,
    PlaceOutcome,
    Receipt,
    Refitted,
)
from streams.rights.signing import ReceiptKey, verify
from streams.sealing.erasures import Done, Requested, Step
from streams.worker.erasure_receipt import receipt_of
from tests.patience import PATIENCE_S

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
GOLDEN, GOLDEN_KEY = EXAMPLES / "receipt.json", EXAMPLES / "receipt-key.pub"
#: Known to everybody who reads this, so it signs nothing but examples.
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = ReceiptKey(PRIVATE)
WEARER, SALT = "w1", bytes(range(100, 132))
T_NS = 1_790_000_000_000_000_000
S = 10**9


STEPS: dict[Step, Done] = {
    "requested": Done(T_NS, 0),
    "stopped": Done(T_NS + 1 * S, 1),
    "unreadable": Done(T_NS + 3 * S, 4),
    "models": Done(T_NS + 7 * S, 8),
    "second": Done(T_NS + 8 * S, 0),
    "store": Done(T_NS + 62 * S, 3_057),
}


def of_scope(scope: Scope | None = None) -> Receipt:
    """What an erasure signs, with all that it can claim."""
    return receipt_of(
        Requested(107_922_230_712_000, "", WEARER, STEPS, at_place=scope),
        Done(T_NS + 63 * S + 7, 0),
        wearer=WEARER,
        salt=SALT,
        policy_version="7f2dc9c7394e41b8",
        lines=12,
        second_order="keep",
        refitted=(
            Refitted(
                model="training/intent-model/12",
                digest_before="93a8bc1f5f7d4f0c8e2d6a90b7c1e5f4",
                digest_after="0b6fd8c2a1e94d7786f3b5c9e0d2a418",
            ),
        ),
    )


EXAMPLE = of_scope()
_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
_WORDS = _TEXT.filter(bool)
_HEX = "0123456789abcdef"


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Any receipt that may be signed, also with quotes and backslashes, and with the largest numbers."""
    times = sorted(draw(st.lists(st.integers(1, TIME_NS_MAX), min_size=4, max_size=4)))
    within = st.integers(times[0], times[-1])
    counts = st.integers(0, RECEIPT_COUNT_MAX)
    refitted = draw(st.booleans())
    places = []
    for place in draw(st.permutations(PLACES)):
        free = [level for level in LEVELS if level != "refitted"]
        level = "refitted" if refitted and place == "glasses.models" else draw(st.sampled_from(free))
        silent = level in UNCLAIMED
        places.append(
            PlaceOutcome(
                place=place,
                level=level,
                count=draw(counts),
                at_ns=draw(st.just(0) | within if silent else within),
                note=draw(_WORDS if silent else _TEXT),
            )
        )
    kept = st.builds(KeptItem, item=_WORDS, reason=_WORDS, count=counts)
    digests = st.text(_HEX, min_size=32, max_size=32)
    fitted = st.builds(
        Refitted, model=st.just("training/intent-model/3"), digest_before=digests, digest_after=digests
    )
    return Receipt(
        id=draw(st.text(_HEX, min_size=32, max_size=32)),
        subject=draw(st.text(_HEX, min_size=64, max_size=64)),
        scope=draw(_WORDS),
        policy_version=draw(_WORDS),
        requested_ns=times[0],
        stopped_ns=times[1],
        keys_destroyed_ns=times[2],
        finished_ns=times[3],
        places=tuple(places),
        kept=tuple(draw(st.lists(kept, min_size=1, max_size=2))),
        refitted=tuple(draw(st.lists(fitted, min_size=1, max_size=2))) if refitted else (),
    )


def _example_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_receipt", EXAMPLES / "verify_receipt.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROGRAM = _example_program()


def ours(content: bytes, public: bytes = KEY.public) -> str:
    """Why our own verifier refuses; empty if it does not."""
    try:
        verify(content, public)
    except InvalidReceiptError as error:
        return str(error)
    return ""


def example(content: bytes, public: bytes = KEY.public) -> str:
    """Why the example in Python refuses; empty if it does not."""
    try:
        PROGRAM.verified(content, Ed25519PublicKey.from_public_bytes(public))
    except PROGRAM.NotValid as error:
        return str(error)
    return ""


def refused(content: bytes, public: bytes = KEY.public) -> tuple[str, str]:
    """Why the two verifiers in Python refuse. One that refuses and one that does not is a fault of either."""
    reasons = ours(content, public), example(content, public)
    assert bool(reasons[0]) == bool(reasons[1]), reasons
    return reasons


def pem(public: bytes) -> bytes:
    """A public key as a file of it."""
    key = Ed25519PublicKey.from_public_bytes(public)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def built_in_go(directory: Path) -> Path:
    """The verifier in Go as a program; where there is no Go, the test says that it was skipped."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go here: docs/examples/verify_receipt.go was not tried")
    program, source = directory / "verify-receipt", EXAMPLES / "verify_receipt.go"
    # The first build on a machine compiles Go's own library, beside many other tests.
    subprocess.run([go, "build", "-o", str(program), str(source)], check=True, timeout=10 * PATIENCE_S)
    return program


if __name__ == "__main__":
    GOLDEN.write_bytes(KEY.sign(EXAMPLE, [WEARER, "g1"]))
    GOLDEN_KEY.write_bytes(pem(KEY.public))
