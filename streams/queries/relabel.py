"""Zones, labels and verdicts of a store's events under another policy; each distinct case is computed once.

Captured events are tagged again, from the attributes that their decisions were based on. The labels of
derived events are joined again from those of their parents, over the stored edges.
"""

from __future__ import annotations

import numpy as np

from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.policy.verdicts import Verdicts
from streams.queries.decision_arrays import CAPTURED, DERIVED, MODEL, DecisionArrays, Flags, Numbers, flags
from streams.queries.store import Store
from streams.topology import ANSWERS, ASSISTANT, EXAMPLES, FEEDBACK, MODELS, PROCESSING, STORE
from streams.topology import DERIVED as DERIVED_TOPIC

#: Topics of derived events; events that pass there go on to the store.
OUTPUTS = (DERIVED_TOPIC, ANSWERS, EXAMPLES, MODELS)
_STAGES = (PROCESSING, ASSISTANT, FEEDBACK)


class Relabelled:
    """Rulings of a policy about everything in a store, filled in from parents to children.

    Attributes
    ----------
    row_ruled
        For each row of decisions about captured events: index of the ruling (`Verdicts.rulings`).
    ruled
        For each decision about one derived event (`DecisionArrays.d_row`): the same; -1 if it is unknown.
    code
        For each node: index of its zone and label (`Verdicts.codes`); -1 if unknown.
    made, given
        For each node: whether it would have been made, and whether it would have passed to topic and store.
    taken
        For each node: whether the assistant would have taken it.
    cut, blind
        For each node: whether it would be made from other parents, because some would be missing or in
        another zone; and whether no parent is known to the store or visible to the role.
    serving
        For each stored model version: code of the version that would have served at that time.
    """

    def __init__(self, store: Store, policy: Policy) -> None:
        self.known, self.verdicts = DecisionArrays.read(store), Verdicts(policy)
        self._policies = StoredPolicies(store.policies)
        nodes, classes = len(self.known.node_number), self.known.classes
        self.code = np.full(nodes, -1)
        self.ruled = np.full(len(self.known.d_row), -1)
        self.made, self.given, self.taken, self.cut, self.blind = (
            np.zeros(nodes, dtype=np.bool_) for _ in range(5)
        )
        self.serving: dict[int, int] = {}
        self.class_code = np.full(len(classes), -1)
        self.takes = {sink: np.zeros(len(classes), dtype=np.bool_) for sink in _STAGES}
        numbers = np.full(len(classes), -1)
        for at, row in enumerate(classes):
            if row.attributes:
                asked = (row.attributes, row.consent_state)
                numbers[at] = self.verdicts.number(self.verdicts.captured(*asked, row.sink))
                self.class_code[at] = self.verdicts.tagged(row.attributes)
                for sink in _STAGES:
                    self.takes[sink][at] = self.verdicts.captured(*asked, sink).passed
        self.row_ruled = numbers[self.known.of]

    def passed(self, numbers: Numbers) -> Flags:
        """Whether rulings let events pass; an unknown ruling (-1) does not."""
        passed = flags([*(ruling.passed for ruling in self.verdicts.rulings), False])
        passes: Flags = passed[numbers]
        return passes

    def resolve(self, edges: Numbers, kind: str) -> None:
        """Compute the labels of the events of a kind that `edges` made, from parents that are known by now.

        An event is made unless all known parents of one of its direct edges are gone.
        """
        known, size = self.known, len(edges)
        owner, code, arrives = self._parents(edges, kind)
        some = np.bincount(owner[arrives], minlength=size) > 0
        total = np.bincount(owner, minlength=size)
        part = some & (np.bincount(owner[arrives], minlength=size) < total)
        low, high = np.full(size, len(self.verdicts.codes)), np.full(size, -1)
        np.minimum.at(low, owner[arrives], code[arrives])
        np.maximum.at(high, owner[arrives], code[arrives])
        child, direct = known.e_child[edges], known.edges["direct"][known.e_row[edges]].astype(np.bool_)
        lost = (total > 0) & ~some
        self.made[child] = True
        self.made[child[lost & direct]] = False
        self.cut[child[part | (high > low) | (lost & ~direct)]] = True
        self.blind[child[(total == 0) & direct]] = True
        self._join(child[owner[arrives]], code[arrives], kind)
        self.keep(np.flatnonzero(self.blind & np.isin(np.arange(len(self.code)), child)))

    def _parents(self, edges: Numbers, kind: str) -> tuple[Numbers, Numbers, Flags]:
        """(index in `edges`, code, whether it arrives) of every parent that the store has data about."""
        known = self.known
        which = known.e_kind[edges]
        captured, derived, model = (np.flatnonzero(which == origin) for origin in (CAPTURED, DERIVED, MODEL))
        place, row = known.within(edges[captured])
        of, feedback = known.of[row], known.kind_is("feedback")
        takes = self.takes[ASSISTANT if kind in ("answer", "example") else PROCESSING]
        if kind == "example":
            takes = np.where(feedback, self.takes[FEEDBACK], takes)
        parent = known.e_parent[edges[derived]]
        comes = (self.taken if kind == "answer" else self.given)[parent]
        seen = (known.node_class[parent] >= 0) | (self.code[parent] >= 0)
        versions = known.e_low[edges[model]].tolist()
        served = np.array([self.serving.get(version, -1) for version in versions], dtype=np.int64)
        serves = served >= 0
        return (
            np.concatenate((captured[place], derived[seen], model[serves])),
            np.concatenate((self.class_code[of], self.code[parent[seen]], served[serves])),
            np.concatenate((takes[of], comes[seen] & (self.code[parent[seen]] >= 0), serves[serves])),
        )

    def _join(self, child: Numbers, code: Numbers, kind: str) -> None:
        """Give each child the join of all codes that are paired with it; each distinct set is joined once."""
        if not len(child):
            return
        both = np.unique(np.stack((child, code), axis=1), axis=0)
        nodes, begin, count = np.unique(both[:, 0], return_index=True, return_counts=True)
        sets = np.full((len(nodes), int(count.max())), -1)
        row = np.repeat(np.arange(len(nodes)), count)
        sets[row, np.arange(len(both)) - begin[row]] = both[:, 1]
        alike, which = np.unique(sets, axis=0, return_inverse=True)
        joined = [
            self.verdicts.joined(kind, [other for other in some if other >= 0]) for some in alike.tolist()
        ]
        self.code[nodes] = np.array(joined, dtype=np.int64)[which.reshape(-1)]

    def keep(self, nodes: Numbers) -> None:
        """Keep the zone and label of events without known parents, translated to the policy."""
        for at in np.unique(self.known.node_class[nodes]).tolist():
            if at >= 0:
                row = self.known.classes[at]
                before = self._policies.version(row.policy_version)
                label = self.verdicts.policy.adopted(bytes.fromhex(row.label), before)
                self.code[nodes[self.known.node_class[nodes] == at]] = self.verdicts.code(row.zone, label)

    def put_out(self, nodes: Flags) -> None:
        """Decide about nodes at their topics, then at the store; nodes that pass both are `given`."""
        known = self.known
        self.given |= nodes & self.made & (self.code >= 0)
        where = np.flatnonzero(nodes[known.d_node])
        of = known.of[known.d_row[where]]
        for sinks in (OUTPUTS, (STORE,)):
            mine = where[known.sinks(*sinks)[of]]
            self.decide(mine, self.given[known.d_node[mine]])
            self.given[known.d_node[mine[~self.passed(self.ruled[mine])]]] = False
        self.taken |= nodes & self.given

    def decide(self, where: Numbers, asked: Flags) -> None:
        """Repeat decisions about derived events; `asked`: whether the event would get as far as the sink."""
        known, verdicts = self.known, self.verdicts
        self.ruled[where[~asked]] = verdicts.unasked
        where = where[asked & (self.code[known.d_node[where]] >= 0)]
        if not len(where):
            return
        row, code = known.d_row[where], self.code[known.d_node[where]]
        at_ns, appended_ns = known.rows["at_ns"][row], known.rows["appended_ns"][row]
        kept_ns = np.array([verdicts.kept_ns(at) for at in range(len(verdicts.codes))], dtype=np.int64)
        over = (at_ns != 0) & (at_ns - appended_ns >= kept_ns[code])
        keys = np.stack((code, known.of[row], over), axis=1)
        _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        classes = [known.classes[known.of[row[at]]] for at in first]
        numbers = [
            verdicts.derived(int(code[at]), of.sink, of.consent_state, int(appended_ns[at]), int(at_ns[at]))
            for at, of in zip(first, classes, strict=True)
        ]
        self.ruled[where] = np.array(numbers, dtype=np.int64)[which.reshape(-1)]
