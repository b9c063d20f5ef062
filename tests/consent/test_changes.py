"""Many changes of consent: too many are refused by name, each in a batch is checked, look-ups are fast."""

from __future__ import annotations

from streams.consent.view import Consents
from streams.consent.words import Pairing, Word
from streams.pipeline.partition import PartitionState
from streams.topology import REJECTED
from tests import build
from tests.consent.test_consents import BOTH, SERVICE, change, core, rules_of, run, states


def test_many_changes_are_refused_by_name_and_a_withdrawal_is_not() -> None:
    flood = [change(1 + i, "Given", SERVICE, event=i) for i in range(40)]
    records = run([*flood, build.batch(first=0), change(99, "Withdrawn", event=40), build.batch(first=20)])
    assert rules_of(records) == {
        **{
            f"g1/consent-change/{i}": "consent: more than 32 changes of one wearer in an hour"
            for i in range(32, 40)
        },
        "g1/imu-right/20": "no zone's condition holds",
    }
    whole = build.batch(
        "consent_change",
        None,
        0,
        33,
        columns={
            "consent": list(range(1, 34)),
            "status": ["dpv:ConsentGiven"] * 33,
            "purposes": [SERVICE] * 33,
        },
    )
    (refused,) = [one for one in run([whole]) if one.topic == REJECTED]
    assert b"33 consent changes in one batch" in dict(refused.headers)["sightline-reason"]


def test_of_changes_in_one_batch_each_is_judged_by_those_before_it() -> None:
    said = build.batch(
        "consent_change",
        None,
        0,
        4,
        columns={
            "consent": [1, 2, 2, 3],
            "status": ["dpv:ConsentGiven"] * 4,
            "purposes": [SERVICE, BOTH, SERVICE + " dpv:LegalCompliance", SERVICE],
        },
    )
    records = run([said, build.batch(first=0, consent=2), build.batch(first=20, consent=3)])
    assert rules_of(records) == {}
    assert states(records) == [f"given for {SERVICE}"] * 2


def test_what_a_fetch_costs_does_not_grow_with_what_was_said() -> None:
    """The cost is the number of words that are kept, which is bounded, however many were said."""
    consents = Consents()
    consents.learn(0, "w1", Pairing("g1", True, 0))
    for number in range(1, 2001):
        consents.learn(number, "w1", Word("g1", 1, number, "given", (SERVICE,), 0, number))
    words = consents.words("w1", consents.offset)
    assert len(words.kept) <= 64
    assert len(words.folded) == 1
    of = core()
    of.followed.consents = consents
    state = PartitionState(consents_taken=consents.offset)
    records, _ = build.process(of, [build.fetch([build.batch(first=0, consent=2000)])], state)
    assert states(records) == [f"given for {SERVICE}"]
    # A record that is no longer kept still limits the data captured under it.
    records, _ = build.process(of, [build.fetch([build.batch(first=0, consent=3)])], state)
    assert states(records) == [f"given for {SERVICE}"]
