"""Decisions of a policy about stored events; events that it cannot distinguish are decided once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streams.policy.attributes import Attributes
from streams.policy.policy import Policy
from streams.policy.recheck import LookedAt, again
from streams.policy.rules import MODEL_TRAINING
from streams.policy.step import NOT_ASKED
from streams.topology import STORE, ZONED


class Ruling(NamedTuple):
    """One verdict, whether the data passes, the rule, and the zone under the policy that decided."""

    zone: str
    verdict: str
    passed: bool
    rule: str


UNASKED = Ruling("", NOT_ASKED, False, "")


class Verdicts:
    """Decisions of one policy; pairs of zone and label (in `codes`) and rulings have numbers.

    A number never changes its meaning, because both lists only grow.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.codes: list[tuple[str, bytes]] = []
        self.rulings: list[Ruling] = []
        self._code_of: dict[tuple[str, bytes], int] = {}
        self._number_of: dict[Ruling, int] = {}
        self._captured: dict[tuple[str, str, str], Ruling] = {}
        self.unasked = self.number(UNASKED)

    def code(self, zone: str, label: bytes) -> int:
        """Number of a pair of zone and label."""
        number = self._code_of.setdefault((zone, label), len(self.codes))
        if number == len(self.codes):
            self.codes.append((zone, label))
        return number

    def number(self, ruling: Ruling) -> int:
        """Number of a ruling."""
        number = self._number_of.setdefault(ruling, len(self.rulings))
        if number == len(self.rulings):
            self.rulings.append(ruling)
        return number

    def tagged(self, attributes: str) -> int:
        """Number of the zone and label of captured events with these attributes."""
        tag = self.policy.tag(Attributes.parse(attributes))
        return self.code(tag.zone, tag.label)

    def captured(self, attributes: str, consent_state: str, sink: str) -> Ruling:
        """Ruling about captured events at a sink; UNASKED if an earlier sink refuses them."""
        key = (attributes, consent_state, sink)
        if key not in self._captured:
            before: Sequence[str] = () if sink == ZONED else (ZONED,) if sink == STORE else (STORE,)
            if all(self.captured(attributes, consent_state, earlier).passed for earlier in before):
                self._captured[key] = self._again(
                    LookedAt(
                        policy_version=self.policy.version,
                        attributes=attributes,
                        zone="",
                        label="",
                        sink=sink,
                        consent_state=consent_state,
                        appended_ns=0,
                        at_ns=0,
                    )
                )
            else:
                self._captured[key] = UNASKED
        return self._captured[key]

    def derived(
        self, code: int, sink: str, consent_state: str = "", appended_ns: int = 0, at_ns: int = 0
    ) -> int:
        """Number of the ruling at a sink about derived events of a zone and label, under a consent."""
        zone, label = self.codes[code]
        return self.number(
            self._again(
                LookedAt(
                    policy_version=self.policy.version,
                    attributes="",
                    zone=zone,
                    label=label.hex(),
                    sink=sink,
                    consent_state=consent_state,
                    appended_ns=appended_ns,
                    at_ns=at_ns,
                )
            )
        )

    def joined(self, kind: str, codes: Sequence[int]) -> int:
        """Number of the zone and label of a derived event of `kind`; `codes` are those of its parents."""
        parents = [self.codes[code] for code in codes]
        label = self.policy.inherited_label(kind, tuple(sorted({label for _, label in parents})))
        return self.code(self.policy.highest(frozenset(zone for zone, _ in parents)), label)

    def seed(self) -> int:
        """Number of the zone and label of the licensed utterances that every model learns from."""
        return self.code(self.policy.seed_zone, self.policy.inherited_label("example", ()))

    def model(self, codes: Sequence[int], wearers: int) -> int:
        """Number of the zone and label of a model of the seed and of examples of `wearers` people."""
        joined = self.joined("model", [self.seed(), *codes])
        if not codes:
            return joined
        zone, label = self.codes[joined]
        return self.code(zone, self.policy.declassify(MODEL_TRAINING, label, wearers))

    def kept_ns(self, code: int) -> int:
        """How long data with a label may be kept, in ns; 0 if the label cannot be read."""
        label = self.codes[code][1]
        return self.policy.expires_ns(label, 0) if label else 0

    def _again(self, row: LookedAt) -> Ruling:
        now = again(self.policy, row)
        return Ruling(now.zone, now.verdict, now.passed, now.rule)
