"""Compare the decisions in a store with those of another policy, through the whole loop.

First the captured events are judged, then windows and situations. Then follows, generation by generation: the
versions that training would have made of the examples which the policy admits, their answers, and the
examples made from those answers. What cannot be judged from the store is counted, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streams import limits
from streams.events.identity import EventId
from streams.events.runs import Run, consecutive
from streams.lineage.tables import EXAMPLE_ORDER, NO_EXAMPLE
from streams.policy.diff import Change, EventRun, Groups, add
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.policy.step import NOT_ASKED
from streams.policy.verdicts import Ruling
from streams.queries.decision_arrays import CAPTURED, MODEL, Flags, Numbers, distinct, flags, matched, spread
from streams.queries.relabel import Relabelled
from streams.queries.store import Store
from streams.topology import ASSISTANT, CONSENTS, MODELS, PROCESSING, STORE, TRAINING_RUN, TRAINING_SOURCE

_ORDER = f"""SELECT value FROM inputs WHERE kind = '{EXAMPLE_ORDER}' ORDER BY "offset" """  # noqa: S608
_TRIGGERS = "SELECT version, trigger FROM training_runs ORDER BY version"
#: Feedback that was rejected because of what a model understood; other rejections do not depend on a model.
_NOT_TAUGHT = """SELECT coalesce(sum("count"), 0) FROM rejected
WHERE stage = 'feedback' AND rule IN ('negated', 'asked-again', 'stopped', 'not-understood')"""
_MODEL = "SELECT any_value(stream) FROM models"
#: Operators whose parents are not only captured events; all other operators make windows.
_SITUATION, _ANSWER, _EXAMPLE = "situation", "answer", "example"


class Otherwise:
    """Result of applying one policy to one store, as far as the store's role may see it.

    Attributes
    ----------
    events
        Number of events with a decision; an event counts once for each sink.
    groups
        Differences, with their events.
    unjudged
        (count, reason) of what could not be judged.
    """

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store, self._new = store, Relabelled(store, policy)
        known = self._known = self._new.known
        self.events = int(known.rows["count"].sum())
        self.groups: Groups = {}
        self.unjudged: list[tuple[int, str]] = []
        windows = [name for name in known.operators if name not in (_SITUATION, _ANSWER, _EXAMPLE)]
        for name in (*windows, _SITUATION):
            self._new.resolve(known.of_operator(name), name)
            self._new.put_out(self._made_by(name))
        self._ask_assistant()
        self._generations()
        self._seed_and_models()
        self._compare()
        self._say_what_is_unjudged()

    def _made_by(self, *operators: str) -> Flags:
        made = np.zeros(len(self._new.code), dtype=np.bool_)
        made[self._known.e_child[self._known.of_operator(*operators)]] = True
        return made

    def _ask_assistant(self) -> None:
        """Judge what the assistant takes: queries (only together with their situation), and situations."""
        known, new = self._known, self._new
        edges = known.of_operator(_SITUATION)
        edges = edges[known.e_kind[edges] == CAPTURED]
        place, row = known.within(edges)
        asks = np.zeros(len(new.code), dtype=np.bool_)
        asks[known.e_child[edges[place]]] = new.takes[ASSISTANT][known.of[row]]
        about = known.is_captured & (known.sinks(ASSISTANT) & known.kind_is("voice_query"))[known.of]
        self._queries = np.flatnonzero(about)
        of, _, number = spread(*(known.rows[name][self._queries] for name in ("first", "step", "count")))
        self._query_row, self._query_number = self._queries[of], number
        place = matched(
            known.edges["parent"][known.e_row[edges]],
            known.e_low[edges],
            (known.stream[self._query_row], number),
        )
        situation = np.append(known.e_child[edges], -1)[place]
        kept = (place >= 0) & ~np.append(new.given, True)[situation]
        self._query_ruled = np.where(kept, new.verdicts.unasked, new.row_ruled[self._query_row])
        where = np.flatnonzero(known.sinks(ASSISTANT)[known.of[known.d_row]])
        node = known.d_node[where]
        new.decide(where, new.given[node] & asks[node])
        new.taken[node] = new.given[node] & new.passed(new.ruled[where])

    # --- round the loop --------------------------------------------------------------------------------

    def _generations(self) -> None:
        """Process the stored versions in order: which ones training would have made, and their answers."""
        known, new = self._known, self._new
        triggers = self._order()
        answers, examples = self._made_by(_ANSWER), self._made_by(_EXAMPLE)
        generation = self._generation()
        newest = np.array(sorted(triggers) or [1])
        # A version without a training run in the store counts as the newest version before it that has one.
        generation = newest[np.maximum(np.searchsorted(newest, generation, side="right") - 1, 0)]
        for version in newest.tolist():
            if self._ordered:
                self._train(triggers[version])
                new.serving[version] = self._served
            for nodes, kind in ((answers, _ANSWER), (examples, _EXAMPLE)):
                mine = nodes & (generation == version)
                edges = known.of_operator(kind)
                new.resolve(edges[mine[known.e_child[edges]]], kind)
                new.put_out(mine)
                where = np.flatnonzero(mine[known.d_node] & known.sinks(TRAINING_RUN)[known.of[known.d_row]])
                new.decide(where, new.given[known.d_node[where]])
        if self._ordered:
            self._train(len(self._examples))

    def _generation(self) -> Numbers:
        """For each node: the model version that it depends on; 0 if it depends on none."""
        known = self._known
        after = np.zeros(len(self._new.code), dtype=np.int64)
        cites = known.e_kind == MODEL
        np.maximum.at(after, known.e_child[cites], known.e_low[cites])
        edges = known.of_operator(_EXAMPLE)
        edges = edges[known.e_parent[edges] >= 0]
        np.maximum.at(after, known.e_child[edges], after[known.e_parent[edges]])
        return after

    def _order(self) -> dict[int, int]:
        """For each stored model version: how many examples training had read when its run was triggered."""
        known = self._known
        told = [
            text for (value,) in self._store.sql(_ORDER, limits.NUMBER_MAX).rows for text in value.split()
        ]
        ids = [text for text in dict.fromkeys(told) if text != NO_EXAMPLE]
        self._examples = known.named([EventId.parse(text) for text in ids])
        read = {text: at + 1 for at, text in enumerate(ids)}
        triggers = {
            version: read.get(trigger, 0)
            for version, trigger in self._store.sql(_TRIGGERS, limits.NUMBER_MAX).rows
        }
        gates = np.flatnonzero(known.sinks(TRAINING_RUN)[known.of[known.d_row]])
        latest_first = gates[np.argsort(-known.rows["at_ns"][known.d_row[gates]], kind="stable")]
        #: For each node: its first decision at the training gate, -1 if there is none.
        self._gate = np.full(len(self._new.code) + 1, -1)
        self._gate[known.d_node[latest_first]] = latest_first
        self._ordered = bool(ids) or not len(np.flatnonzero(self._made_by(_EXAMPLE)))
        self._trained, self._learned, self._other = 0, self._examples[:0], False
        self._served = self._new.verdicts.model([], 0)
        self._versions = [self._served]
        return triggers or {1: 0}

    def _train(self, read: int) -> None:
        """Judge the examples up to the `read`-th, and make the versions whose training they trigger."""
        known, new = self._known, self._new
        nodes = self._examples[self._trained : read]
        gate = self._gate[nodes]
        admitted = (gate >= 0) & new.passed(np.append(new.ruled, -1)[gate])
        before = np.append(flags(each.passed for each in known.classes)[known.of[known.d_row]], False)[gate]
        self._other = self._other or bool((admitted != before).any())
        learned = np.concatenate((self._learned, nodes[admitted]))
        for count in range(len(self._learned) + 1, len(learned) + 1):
            if count % limits.RETRAIN_EVERY_EXAMPLES == 0:
                wearers = known.rows["wearer"][known.d_row[self._gate[learned[:count]]]]
                codes = np.unique(new.code[learned[:count]]).tolist()
                made = new.verdicts.model(codes, len(np.unique(wearers)))
                self._versions.append(made)
                if all(self._model_said(made, sink).passed for sink in (MODELS, STORE)):
                    self._served = made
        self._trained, self._learned = max(read, self._trained), learned

    def _model_said(self, code: int, sink: str) -> Ruling:
        return self._new.verdicts.rulings[self._new.verdicts.derived(code, sink)]

    def _seed_and_models(self) -> None:
        """Decide about the seed and the model versions; additional versions count as a change."""
        known, new = self._known, self._new
        self._model_stream = self._store.sql(_MODEL).rows[0][0] or ""
        ours = flags(source == TRAINING_SOURCE for source, _ in known.streams)[known.node_stream]
        models = ours & flags(name == self._model_stream for _, name in known.streams)[known.node_stream]
        seed, versions = np.flatnonzero(ours & ~models), np.flatnonzero(models)
        new.code[seed], new.made[seed] = new.verdicts.seed(), True
        where = np.flatnonzero((ours & ~models)[known.d_node])
        runs = known.sinks(TRAINING_RUN)[known.of[known.d_row[where]]]
        new.decide(where[runs], np.ones(int(runs.sum()), dtype=np.bool_))
        passes = bool(new.passed(new.ruled[where[runs]]).all())
        new.decide(where[~runs], np.full(int((~runs).sum()), passes))
        number = known.node_number[versions]
        if self._ordered:
            new.made[versions] = number <= len(self._versions)
            of = np.minimum(number, len(self._versions)) - 1
            new.code[versions] = np.array(self._versions)[of]
        else:
            new.made[versions] = True
            new.keep(versions)
        new.put_out(models)
        for version in range(int(number.max(initial=0)) + 1, len(self._versions) + 1 if len(number) else 0):
            run = (TRAINING_SOURCE, self._model_stream, Run(version, 1, 1))
            for sink in (MODELS, STORE):
                verdict = self._model_said(self._versions[version - 1], sink)
                change = Change(sink, "", verdict.zone, NOT_ASKED, verdict.verdict, verdict.rule)
                add(self.groups, change, self._model_stream, [run])
                if not verdict.passed:
                    break

    # --- the answer ------------------------------------------------------------------------------------

    def _compare(self) -> None:
        """Collect differences in groups."""
        known, new = self._known, self._new
        whole = known.is_captured.copy()
        whole[self._queries] = False
        rows = np.flatnonzero(whole)
        for change, kind, mine in self._changes(known.of[rows], new.row_ruled[rows]):
            add(self.groups, change, kind, (self._run(row) for row in rows[mine].tolist()))
        row = np.concatenate((self._query_row, known.d_row))
        number = np.concatenate((self._query_number, known.node_number[known.d_node]))
        numbers = np.concatenate((self._query_ruled, new.ruled))
        for change, kind, mine in self._changes(known.of[row], numbers):
            for stream in np.unique(known.stream[row[mine]]).tolist():
                source, name = known.streams[stream]
                some = np.unique(number[mine[known.stream[row[mine]] == stream]]).tolist()
                events = [(source, name, run) for run in consecutive(some)]
                add(self.groups, change, kind or name.partition("~")[0], events)

    def _changes(self, of: Numbers, numbers: Numbers) -> Iterator[tuple[Change, str, Numbers]]:
        """(change, kind of captured events, indices) of differences, by class and verdict."""
        known = self._known
        classes, verdicts, which = distinct(of, numbers)
        for at, (of_class, other) in enumerate(zip(classes.tolist(), verdicts.tolist(), strict=True)):
            if other < 0:
                continue
            was, now = known.classes[of_class], self._new.verdicts.rulings[other]
            if (was.zone, was.verdict) != (now.zone, now.verdict):
                change = Change(was.sink, was.zone, now.zone, was.verdict, now.verdict, now.rule)
                kind = was.attributes.partition(" ")[0].partition("=")[2]
                yield change, kind, np.flatnonzero(which == at)

    def _run(self, row: int) -> EventRun:
        source, stream = self._known.streams[self._known.stream[row]]
        first, step, count = (int(self._known.rows[name][row]) for name in ("first", "step", "count"))
        return source, stream, Run(first, step, count)

    def _say_what_is_unjudged(self) -> None:
        known, new = self._known, self._new
        passed = flags(each.passed for each in known.classes)
        opened = ~passed[known.of] & new.passed(new.row_ruled) & known.is_captured
        denied = passed[known.of] & ~new.passed(new.row_ruled) & known.sinks(CONSENTS)[known.of]
        of = known.of[known.d_row]
        later = ~passed[of] & new.passed(new.ruled) & ~known.sinks(TRAINING_RUN)[of]
        counts = {
            "events were refused and would pass: what would be made of them is not in the store": int(
                known.rows["count"][opened].sum() + later.sum()
            ),
            "consent changes would be refused: what follows is judged as if they stood": int(
                known.rows["count"][denied].sum()
            ),
            "derived events would be made of something else (windows begin and end elsewhere, situations say "
            "less), here they stand with what is left of their parents": int((new.cut & new.made).sum()),
            "places where two windows would be one: zone and label would not change there any more": (
                self._merged()
            ),
            "derived events have no parent that is shown: they keep their zone and label": int(
                new.blind.sum()
            ),
            "spoken reactions would be heard by another model version, which may understand them otherwise": (
                self._heard_otherwise()
            ),
            "examples whose intent the policy may not list: a store does not say what it is": (
                0 if self._same_intents() else len(self._examples)
            ),
            "model versions keep their labels: the role is not shown in which order examples were read": (
                0 if self._ordered else len(self._new.serving) or int(self._gate.max() >= 0)
            ),
        }
        self.unjudged = [(count, reason) for reason, count in counts.items() if count]

    def _merged(self) -> int:
        """How many windows closed because of a change of zone or label that the policy would not make."""
        known, new = self._known, self._new
        windows = np.unique(known.edges["parent"][known.e_row[known.e_kind == CAPTURED]])
        of, stream = known.of[known.came], known.stream[known.came]
        told = np.array([hash((each.zone, each.label)) for each in known.classes] or [0])[of]
        consent = np.array([hash(each.consent_state) for each in known.classes] or [0])[of]
        follows = (stream[1:] == stream[:-1]) & (known.came_first[1:] == known.came_last[:-1] + 1)
        works = (new.takes[PROCESSING][of] & np.isin(stream, windows))[1:]
        alike = (new.class_code[of][1:] == new.class_code[of][:-1]) & (consent[1:] == consent[:-1])
        return int((follows & works & alike & (told[1:] != told[:-1])).sum())

    def _heard_otherwise(self) -> int:
        """Number of reactions that a model had to understand, after the first version that would differ."""
        if not self._other:
            return 0
        known = self._known
        examples = known.of_operator(_EXAMPLE)
        heard = int((known.e_kind[examples] == MODEL).sum())
        return heard + int(self._store.sql(_NOT_TAUGHT).rows[0][0])

    def _same_intents(self) -> bool:
        policies = StoredPolicies(self._store.policies)
        versions = {each.policy_version for each in self._known.classes}
        mine = self._new.verdicts.policy.intents
        return all(policies.version(version).intents == mine for version in versions)
