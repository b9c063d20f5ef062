"""How soon a withdrawal was heeded, against rows counted by hand; hidden from who may not see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.consent.record import take_ups_of
from streams.consent.words import WITHDRAWN, Word
from streams.queries.heeded import PassedAfter, TakenUp, passed_after, take_ups
from streams.queries.role import Role
from streams.queries.store import Store
from tests.snapshots.build import Row, row, store, stream, tagged

SERVICE, TRAINING = "dpv:RequestedServiceProvision", "ai:ModelTraining"
S_NS = 10**9
#: When the wearer took training back.
BACK_NS = 1_000 * S_NS
WORD = Word("g1", 1, 2, WITHDRAWN, (), 0, BACK_NS)


def decided(first: int, at_ns: int, **columns: object) -> Row:
    fields = {
        "source": "g1",
        "stream": "example",
        "first": first,
        "count": 2,
        "purpose": TRAINING,
        "sink": "training-run",
        "passed": True,
        "consent_state": f"given for {TRAINING} {SERVICE}",
        "wearer": "w1",
        "appended_ns": 1,
        "at_ns": at_ns,
    }
    tags = {name: value for name, value in tagged().items() if name in ("zone", "label", "policy_version")}
    return row("decisions", **{**tags, **fields, **columns})


DECIDED = [
    decided(0, BACK_NS - S_NS),
    decided(2, BACK_NS),
    decided(4, BACK_NS + S_NS // 4),
    # A decision of a store from before decisions had times of their own.
    decided(6, 0, appended_ns=BACK_NS + S_NS // 2),
    decided(8, BACK_NS + 2 * S_NS, wearer="w2"),
    decided(10, BACK_NS + 2 * S_NS, source="g2"),
    decided(12, BACK_NS + 2 * S_NS, passed=False),
    decided(14, BACK_NS + 2 * S_NS, purpose=SERVICE),
    decided(16, BACK_NS + 2 * S_NS, consent_state=f"given for {SERVICE}"),
    decided(18, BACK_NS + 2 * S_NS, consent_state="none"),
    decided(20, BACK_NS + 9 * S_NS),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (text,) = take_ups_of([("w1", WORD)])
    (others,) = take_ups_of([("w10", WORD), ("w2", WORD)])
    inputs = [
        row("inputs", kind="consent-takeup", agent="training", partition=0, t_ns=BACK_NS + 2, value=text),
        row("inputs", kind="consent-takeup", agent="glasses", partition=3, t_ns=BACK_NS + 1, value=text),
        row("inputs", kind="consent-takeup", agent="glasses", partition=1, t_ns=BACK_NS + 3, value=others),
        row("inputs", kind="policy-takeup", agent="glasses", partition=1, t_ns=BACK_NS + 3, value='"w1"'),
    ]
    streams = [stream("g1", "example", "example", captured=False), stream("g2", "example", "example")]
    return store(
        tmp_path_factory.mktemp("heeded") / "store",
        {"streams": streams, "decisions": DECIDED, "inputs": inputs},
    )


@pytest.fixture
def opened(path: Path) -> Iterator[Store]:
    with Store.open(path) as made:
        yield made


def test_what_passed_after_it_is_what_a_hand_counts(opened: Store) -> None:
    after = (opened, "w1", ["g1"], [TRAINING], BACK_NS)
    assert passed_after(*after, BACK_NS + 5 * S_NS) == PassedAfter(4, BACK_NS + S_NS // 2, "g1/example/6")
    assert passed_after(*after, 0) == PassedAfter(6, BACK_NS + 9 * S_NS, "g1/example/20")
    assert passed_after(opened, "w1", ["g1", "g2"], [TRAINING], BACK_NS, 0).events == 8
    assert passed_after(opened, "w3", ["g1"], [TRAINING], BACK_NS, 0) == PassedAfter(0, 0, "")


def test_who_took_it_up_and_when(opened: Store) -> None:
    rows = take_ups(opened, "w1")
    assert rows is not None
    assert [(each.agent, each.partition, each.t_ns) for each in rows] == [
        ("glasses", 3, BACK_NS + 1),
        ("training", 0, BACK_NS + 2),
    ]
    assert isinstance(rows[0], TakenUp)


@pytest.mark.parametrize(
    ("role", "shown"), [("privacy-officer", True), ("analyst", False), ("wearer:w1", False)]
)
def test_take_ups_are_shown_to_who_may_see_them(path: Path, role: str, shown: bool) -> None:
    with Store.open(path, Role.of(role)) as made:
        assert (take_ups(made, "w1") is not None) is shown


def test_what_is_hidden_is_not_counted(path: Path) -> None:
    with Store.open(path, Role.of("wearer:w2")) as made:
        assert passed_after(made, "w1", ["g1"], [TRAINING], BACK_NS, 0) == PassedAfter(0, 0, "")
