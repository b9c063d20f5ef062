"""Stages 1-5 composed, pure: the cores of the two agents.

`GlassesCore` runs zones, processing, assistant and feedback as one call per fetch of `glasses.captured`;
`TrainingCore` gates the examples of `glasses.examples` and makes the next model version after every N admitted ones.
What enters by chance (which model version is there when a fetch is processed, in which order the examples of several
partitions reach training) is taken up between fetches, kept in the state where it lasts, and recorded as an input.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_state

import orjson
from msgspec.structs import replace

from streams.assistant import stage as assistant
from streams.emit import lineage_of, records_of
from streams.errors import MalformedError, UnavailableError
from streams.events.batch import Batch
from streams.events.codec import digest
from streams.events.kinds import KINDS
from streams.events.record import Fetch, Outcome, Outgoing, Received, stamp_ns
from streams.events.runs import Run
from streams.events.state import DeviceState
from streams.events.step import Output, Reject, Step, Tagged
from streams.feedback import stage as feedback
from streams.limits import KEY_BYTES_MAX, REJECTED_BYTES_MAX, RETRAIN_EVERY_EXAMPLES
from streams.lineage.record import Row, Rows, model_parents
from streams.models.registry import Models
from streams.models.version import CURRENT_KEY, SOURCE, STREAM, Manifest, ModelVersion
from streams.policy.policy import Policy
from streams.processing import stage as processing
from streams.topology import CAPTURED, EXAMPLES, MODELS, POLICIES
from streams.training import gate, run, seed
from streams.zones import stage as zones

MODEL_NAME = "@model"
#: Kind of the recorded input that says in which order training read the examples of all partitions.
EXAMPLE_ORDER = "example-order"
#: Stands in an example order for a record that is no example; no event has this id.
NO_EXAMPLE = "-"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """State of one partition of `glasses.captured`: the model version in force and what is remembered of each device."""

    model_version: int = 0
    devices: Mapping[str, DeviceState] = field(default_factory=dict)


class GlassesCore:
    """Stages 1-4 for one fetch of `glasses.captured` (see `streams.events.record.Core`).

    `lineage` is False only where the bench measures what lineage costs: nothing says then where anything came from.
    """

    def __init__(self, policy: Policy, models: Models, *, lineage: bool = True) -> None:
        self.policy, self.models, self._lineage = policy, models, lineage

    def empty(self, partition: int) -> PartitionState:
        """Nobody seen, no model taken up."""
        del partition
        return PartitionState()

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> PartitionState:
        """State from checkpointed values."""
        del partition
        devices = {name: DeviceState.load(value) for name, value in entries.items() if name != MODEL_NAME}
        return PartitionState(int(entries.get(MODEL_NAME, b"0")), devices)

    def save(self, before: PartitionState | None, after: PartitionState) -> Mapping[str, bytes]:
        """Values of the devices (and the model in force) that changed."""
        known = before.devices if before else {}
        changed = {name: state.dump() for name, state in after.devices.items() if known.get(name) is not state}
        if before is None or before.model_version != after.model_version:
            changed[MODEL_NAME] = str(after.model_version).encode()
        return changed

    async def process(self, state: PartitionState, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]) -> Outcome[PartitionState]:
        """Run the four stages; a newer model version is taken up here and nowhere else, and never when `silent`."""
        first = fetch.records[0]
        serving = state.model_version
        if not silent and self.models.current != serving:
            serving = self.models.current
        version = self.models.version(serving)
        step, devices = zones.run(fetch.records, state.devices, self.policy, poisoned)
        tagged = [output.tagged for output in step.outputs]
        processed, devices, asked = processing.run(tagged, devices, self.policy)
        answered, devices = assistant.run(tagged, asked, devices, self.policy, version)
        learned, devices = feedback.run(tagged, devices, self.policy, version)
        step.extend((processed, answered, learned))
        extra: Rows = {"streams": _new_streams(step, devices)}
        if serving != state.model_version:
            extra["inputs"] = [{"kind": "model-takeup", "agent": "glasses", "topic": CAPTURED, "partition": fetch.partition,
                                "offset": first.offset, "value": str(serving), "t_ns": stamp_ns(first)}]
        place, stamp = (fetch.topic, fetch.partition), stamp_ns(fetch.records[-1]) // 1_000_000
        records, values = records_of(step, self.policy, place)
        if self._lineage:
            records += lineage_of(step, values, self.policy, place, extra, (f"glasses/{fetch.partition}".encode(), stamp))
        after = PartitionState(serving, {**state.devices, **devices})
        return Outcome(after, records, checkpoint=serving != state.model_version)


def _new_streams(step: Step, devices: dict[str, DeviceState]) -> list[Row]:
    """Rows of streams that a device had not used before; marks them as known."""
    rows: list[Row] = []
    used = {(batch.source, batch.stream): batch.kind for batch in (output.tagged.batch for output in step.outputs)}
    for (source, stream), kind in used.items():
        known = devices[source].known_streams
        if stream not in known:
            devices[source] = replace(devices[source], known_streams=tuple(sorted((*known, stream))))
            rows.append({"source": source, "stream": stream, "kind": kind, "captured": KINDS[kind].captured})
    return rows


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Which version was made last and how many examples have been admitted since."""

    version: int = 1
    admitted: int = 0


#: Records of `glasses.examples` from the beginning up to and including an offset.
History = Callable[[int], Awaitable[Sequence[Received]]]
Fit = Callable[[Sequence[run.Pair], Sequence[run.Pair]], Awaitable[run.Fitted]]


class TrainingCore:
    """Stage 5 for one fetch of `glasses.examples`: gate each, and run after every N admitted examples."""

    def __init__(self, policy: Policy, history: History, fit: Fit, every: int = RETRAIN_EVERY_EXAMPLES) -> None:
        self.policy, self.history, self.fit, self.every = policy, history, fit, every
        self.seed, self.evaluation = seed.seed(), seed.evaluation()

    def empty(self, partition: int) -> TrainingState:
        """The seed version stands, nothing admitted."""
        del partition
        return TrainingState()

    def restore(self, partition: int, entries: Mapping[str, bytes]) -> TrainingState:
        """State from checkpointed values."""
        del partition
        fields = orjson.loads(entries["@training"]) if "@training" in entries else {"version": 1, "admitted": 0}
        return TrainingState(int(fields["version"]), int(fields["admitted"]))

    def save(self, before: TrainingState | None, after: TrainingState) -> Mapping[str, bytes]:
        """The one value, when it changed."""
        return {} if before == after else {"@training": orjson.dumps(after)}

    async def process(self, state: TrainingState, fetch: Fetch, *, silent: bool, poisoned: Mapping[int, str]) -> Outcome[TrainingState]:
        """Gate a fetch's examples; the run that the N-th admitted example triggers joins this fetch's transaction.

        Partitions commit their examples by chance in one order or another, and that decides which version learns from which:
        the order is recorded as an input, never when `silent`.
        """
        step, pointers, order = Step(), list[Outgoing](), list[str]()
        extra: Rows = {"models": [], "training_runs": [], "streams": []}
        for record in fetch.records:
            try:
                if record.offset in poisoned:
                    raise MalformedError(poisoned[record.offset])  # noqa: TRY301
                candidate = gate.judge(record, self.policy, gate.read(record)[0].t0_ns)
            except MalformedError as error:
                step.rejects.append(_malformed(record, str(error)))
                order.append(NO_EXAMPLE)
                continue
            order.append(candidate.tagged.batch.first_id)
            step.decisions += gate.decisions([candidate], self.policy)
            state = replace_state(state, admitted=state.admitted + candidate.admitted)
            if state.admitted < self.every:
                continue
            state = TrainingState(state.version + 1)
            if not silent:
                made, refused_now = await self._run(state.version, record)
                step.decisions += gate.decisions(refused_now, self.policy)
                pointers.append(add_version(made, step, extra, candidate.tagged.batch.first_id, record.offset))
        if not silent:
            extra["inputs"] = [_order_row(fetch, order)]
        place, stamp = (fetch.topic, 0), stamp_ns(fetch.records[-1]) // 1_000_000
        records, values = records_of(step, self.policy, place)
        records += lineage_of(step, values, self.policy, place, extra, (b"training/0", stamp))
        return Outcome(state, [*records, *pointers])

    async def _run(self, version: int, trigger: Received) -> tuple[ModelVersion, list[gate.Candidate]]:
        """Make a version of all that the gate admits now; also returns what it admitted once and refuses now."""
        try:
            history = await self.history(trigger.offset)
        except UnavailableError:
            raise
        except Exception as error:
            # Whatever keeps the topic from being read, no example is to blame for it.
            raise UnavailableError(f"{EXAMPLES} could not be read for a training run ({type(error).__name__}); tried again") from error
        now_ns = gate.read(trigger)[0].t0_ns
        candidates, before = [], []
        for record in history:
            try:
                candidates.append(gate.judge(record, self.policy, now_ns))
                before.append(gate.judge(record, self.policy, candidates[-1].tagged.batch.t0_ns))
            except MalformedError:
                continue
        fitted = await self.fit(run.pairs_of(self.seed, candidates), self.evaluation.pairs)
        made = run.make_version(version, fitted, run.manifest_of(self.seed, candidates), candidates, self.policy, now_ns)
        return made, [now for now, then in zip(candidates, before, strict=True) if then.admitted and not now.admitted]


def _order_row(fetch: Fetch, order: Sequence[str]) -> Row:
    """Recorded input: the examples of a fetch of `glasses.examples`, in its order."""
    first = fetch.records[0]
    return {"kind": EXAMPLE_ORDER, "agent": "training", "topic": EXAMPLES, "partition": 0, "offset": first.offset,
            "value": " ".join(order), "t_ns": stamp_ns(first)}


def _malformed(record: Received, reason: str) -> Reject:
    value = record.value or b""
    return Reject(reason, "malformed", "training", record.offset, (record.key or b"")[:KEY_BYTES_MAX], len(value), digest(value),
                  value[:REJECTED_BYTES_MAX], zone="malformed", t_ns=stamp_ns(record))


def add_version(made: ModelVersion, step: Step, extra: Rows, trigger: str, position: int) -> Outgoing:
    """Add a version's output and rows to its fetch; return the record that moves the pointer to it."""
    manifest: Manifest = made.manifest
    value = made.dump()
    batch = Batch("model", SOURCE, "", "", STREAM, Run(made.version, 1, 1), made.trained_ns, 0, "training", None, {}, position=position)
    tagged = Tagged(batch, made.zone, made.label, f"declassifier {run.DECLASSIFIER}" if manifest.admitted else processing.JOIN_RULE)
    parents = model_parents((seed.SOURCE, seed.STREAM, manifest.seed_examples), manifest.admitted, run.DECLASSIFIER)
    step.outputs.append(Output(MODELS, tagged, "training", 1, parents, value))
    extra["models"].append({
        "source": SOURCE, "stream": STREAM, "version": made.version, "digest": made.model.digest, "zone": made.zone,
        "label": made.label.hex(), "policy_version": made.policy_version, "examples": manifest.examples,
        "wearers": len(manifest.wearers), "accuracy": made.accuracy, "trained_ns": made.trained_ns,
        "retrain_by_ns": made.retrain_by_ns, "bytes": len(value)})
    extra["training_runs"].append({
        "version": made.version, "policy_version": made.policy_version, "seed_examples": manifest.seed_examples,
        "admitted": sum(one.count for _, _, one in manifest.admitted), "refused": sum(one.count for _, _, one, _ in manifest.refused),
        "manifest_digest": digest(orjson.dumps(orjson.loads(value)["manifest"])), "evaluation_examples": len(seed.evaluation().pairs),
        "accuracy": made.accuracy, "trigger": trigger, "t_ns": made.trained_ns})
    return Outgoing(MODELS, 0, CURRENT_KEY, orjson.dumps({"version": made.version}), (("content-type", b"application/json"),),
                    made.trained_ns // 1_000_000)


def first_records(policy: Policy, now_ns: int) -> list[Outgoing]:
    """What an empty set of topics begins with: the policy, the seed model (version 1), and their lineage."""
    examples = seed.seed()
    fitted = run.fit_and_measure(examples.pairs, seed.evaluation().pairs)
    made = run.make_version(1, fitted, run.manifest_of(examples, ()), (), policy, now_ns)
    step = Step()
    batch = Batch("example", seed.SOURCE, "", "", seed.STREAM, Run(0, 1, len(examples.pairs)), now_ns, 0,
                  "package:streams/training/seed.csv", None, {})
    step.outputs.append(Output("", Tagged(batch, policy.seed_zone, run.seed_label(policy), "seed_zone"), value=examples.digest.encode()))
    extra: Rows = {
        "streams": [{"source": seed.SOURCE, "stream": seed.STREAM, "kind": "example", "captured": False},
                    {"source": SOURCE, "stream": STREAM, "kind": "model", "captured": False}],
        "models": [], "training_runs": [],
        "policies": [{"version": policy.version, "name": policy.name, "text": policy.text, "published_ns": now_ns}],
        "inputs": [{"kind": "policy", "agent": "glasses", "topic": POLICIES, "partition": 0, "offset": 0, "value": policy.version,
                    "t_ns": now_ns}]}
    pointer = add_version(made, step, extra, "seed", 0)
    records, values = records_of(step, policy, (EXAMPLES, 0))
    records += lineage_of(step, values, policy, (EXAMPLES, 0), extra, (b"training/0", now_ns // 1_000_000))
    text = orjson.dumps({"v": 1, "version": policy.version, "name": policy.name, "text": policy.text})
    stamp = now_ns // 1_000_000
    return [Outgoing(POLICIES, 0, f"policy/{policy.version}".encode(), text, (), stamp),
            Outgoing(POLICIES, 0, b"policy/current", orjson.dumps({"version": policy.version}), (), stamp),
            *records, pointer]
