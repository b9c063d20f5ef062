"""A model version on its way out, and what an empty set of topics begins with."""

from __future__ import annotations

import orjson

from streams.errors import InputError, MalformedError
from streams.events.batch import Batch
from streams.events.codec import digest
from streams.events.headers import pack_parents
from streams.events.identity import EventId
from streams.events.record import Outgoing
from streams.events.runs import Run
from streams.limits import MODEL_BYTES_MAX
from streams.lineage.record import Rows, model_parents
from streams.lineage.tables import FIRST_POLICY
from streams.models.version import CURRENT_KEY, SOURCE, STREAM, Manifest, ModelVersion, version_key
from streams.pipeline.emit import lineage_of, records_of
from streams.policy.flow import decide
from streams.policy.policy import JOIN_RULE, Policy
from streams.policy.step import Output, Reject, Step, Tagged
from streams.policy.versions import CURRENT_KEY as POLICY_IN_FORCE
from streams.policy.versions import pointer_to, record_of
from streams.topology import EXAMPLES, MODELS, POLICIES, STORE, TRAINING_RUN
from streams.training import run, seed


def add_version(
    made: ModelVersion, policy: Policy, step: Step, extra: Rows, trigger: EventId | None, position: int
) -> list[Outgoing]:
    """Add a version's output and rows to its fetch.

    Return the record that moves the pointer to it, none where policy refuses the version.

    `trigger` is the example that completed it, None for the first version. A model is no one person's data:
    whose went in, and under which consent, stands in the manifest.

    MalformedError when the record would be larger than MODEL_BYTES_MAX; nothing is added then.
    """
    manifest: Manifest = made.manifest
    value = made.dump()
    batch = Batch(
        "model",
        SOURCE,
        "",
        "",
        STREAM,
        Run(made.version, 1, 1),
        made.trained_ns,
        0,
        "training",
        None,
        {},
        position=position,
    )
    declassifier = made.declassifier
    parents = model_parents(
        (seed.SOURCE, seed.STREAM, manifest.seed_examples), manifest.admitted, declassifier
    )
    if (size := len(value) + len(pack_parents(batch, parents))) > MODEL_BYTES_MAX:
        raise MalformedError(
            f"its record would have {size} bytes for {len(made.model.intents)} intents and "
            f"{len(manifest.admitted) + len(manifest.refused)} runs of examples, expected at most "
            f"{MODEL_BYTES_MAX}"
        )
    tagged = Tagged(
        batch,
        made.zone,
        made.label,
        f"declassifier {declassifier}" if declassifier else JOIN_RULE,
        consent=None,
    )
    refused = decide(tagged, (MODELS, STORE), policy, step)
    if refused:
        key = version_key(made.version)
        step.rejects.append(
            Reject.refused(
                batch, refused, f"policy: {refused}", stage="training", key=key, value=value, zone=made.zone
            )
        )
        return []
    step.outputs.append(Output(MODELS, tagged, "training", 1, parents, value))
    extra["models"].append(
        {
            "source": SOURCE,
            "stream": STREAM,
            "version": made.version,
            "digest": made.model.digest,
            "zone": made.zone,
            "label": made.label.hex(),
            "policy_version": made.policy_version,
            "examples": manifest.examples,
            "wearers": len(manifest.wearers),
            "accuracy": made.accuracy,
            "trained_ns": made.trained_ns,
            "retrain_by_ns": made.retrain_by_ns,
            "bytes": len(value),
        }
    )
    extra["training_runs"].append(
        {
            "version": made.version,
            "policy_version": made.policy_version,
            "seed_examples": manifest.seed_examples,
            "admitted": sum(one.count for _, _, one in manifest.admitted),
            "refused": sum(one.count for _, _, one, _ in manifest.refused),
            "manifest_digest": digest(orjson.dumps(orjson.loads(value)["manifest"])),
            "evaluation_examples": len(seed.evaluation().pairs),
            "accuracy": made.accuracy,
            "trigger": str(trigger or "seed"),
            "t_ns": made.trained_ns,
        }
    )
    return [
        Outgoing(
            MODELS,
            0,
            CURRENT_KEY,
            orjson.dumps({"version": made.version}),
            (("content-type", b"application/json"),),
            made.trained_ns // 1_000_000,
        )
    ]


def first_records(policy: Policy, now_ns: int) -> list[Outgoing]:
    """What an empty set of topics begins with: the policy, the seed model (version 1), and their lineage.

    InputError when the policy does not let a model be made of the licensed seed.
    """
    examples = seed.seed()
    fitted = run.fit_and_measure(examples.pairs, seed.evaluation().pairs)
    made = run.make_version(1, fitted, run.manifest_of(examples, ()), (), policy, now_ns)
    step = Step()
    batch = Batch(
        "example",
        seed.SOURCE,
        "",
        "",
        seed.STREAM,
        Run(0, 1, len(examples.pairs)),
        now_ns,
        0,
        "package:streams/training/seed.csv",
        None,
        {},
    )
    licensed = Tagged(batch, policy.seed_zone, run.seed_label(policy), "seed_zone", consent=None)
    step.outputs.append(Output("", licensed, value=examples.digest.encode()))
    refused = decide(licensed, (TRAINING_RUN, STORE), policy, step)
    extra: Rows = {
        "streams": [
            {"source": seed.SOURCE, "stream": seed.STREAM, "kind": "example", "captured": False},
            {"source": SOURCE, "stream": STREAM, "kind": "model", "captured": False},
        ],
        "models": [],
        "training_runs": [],
        "policies": [
            {"version": policy.version, "name": policy.name, "text": policy.text, "published_ns": now_ns}
        ],
        "inputs": [
            {
                "kind": FIRST_POLICY,
                "agent": "glasses",
                "topic": POLICIES,
                "partition": 0,
                "offset": 0,
                "value": policy.version,
                "t_ns": now_ns,
            }
        ],
    }
    pointer = [] if refused else add_version(made, policy, step, extra, None, 0)
    if not pointer:
        raise InputError(
            f"policy {policy.name}: {refused or step.rejects[-1].rule}: the licensed utterances that the "
            "first model is made of must be allowed to train and to be stored; "
            "change its sinks or seed_zone"
        )
    records, values = records_of(step, policy, (EXAMPLES, 0))
    records += lineage_of(step, values, policy, (EXAMPLES, 0), extra, (b"training/0", now_ns // 1_000_000))
    stamp = now_ns // 1_000_000
    return [
        Outgoing(POLICIES, 0, *record_of(policy), (), stamp),
        Outgoing(POLICIES, 0, POLICY_IN_FORCE, pointer_to(policy), (), stamp),
        *records,
        *pointer,
    ]
