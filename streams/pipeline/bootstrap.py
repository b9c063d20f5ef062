"""First content of the topics of a new installation: a policy, the seed model, and their lineage."""

from __future__ import annotations

from streams.consent.view import Consents, PartitionConsents
from streams.errors import InputError
from streams.events.batch import Batch
from streams.events.record import Outgoing
from streams.events.runs import Run
from streams.lineage.rows import Rows
from streams.lineage.tables import FIRST_POLICY
from streams.models.version import SOURCE, STREAM
from streams.pipeline.emit import lineage_of, records_of
from streams.pipeline.made_version import add_version, asset_rows
from streams.policy.crossing import Crossing
from streams.policy.policy import Policy
from streams.policy.step import Output, Step, Tagged
from streams.policy.versions import CURRENT_KEY, pointer_to, record_of
from streams.topology import EXAMPLES, POLICIES, STORE, TRAINING_RUN
from streams.training import assets, run, seed
from streams.training.lesson import Lesson
from streams.training.promotion import Measured, apart


def first_records(policy: Policy, now_ns: int, licensed: seed.Licensed | None = None) -> list[Outgoing]:
    """Return the records for empty topics: the policy, the seed model (version 1), and their lineage.

    `licensed` are utterances to use instead of those that are shipped. InputError if the policy does not
    allow training a model on the licensed seed and storing it, or forbids an asset of it, or if the
    validation set is empty or leaks.
    """
    licensed = licensed or seed.licensed()
    examples = licensed.seed
    validation = apart(licensed)
    fitted = run.fit_and_measure(Lesson.of_nobody(examples.pairs), validation)
    made = run.make_version(
        1,
        fitted,
        run.manifest_of(examples, run.Material()),
        (),
        policy,
        now_ns,
        licensed=validation.licensed,
    )
    step = Step()
    crossing = Crossing(policy, PartitionConsents(Consents(), 0, {}), step)
    batch = Batch(
        kind="example",
        source=seed.SOURCE,
        wearer_id="",
        session_id="",
        stream=seed.STREAM,
        run=Run(0, 1, len(examples.pairs)),
        t0_ns=now_ns,
        dt_ns=0,
        origin="package:streams/training/seed.csv",
        context=None,
        columns={},
    )
    tagged = Tagged(batch, policy.seed_zone, run.seed_label(policy), "seed_zone", consent=None)
    step.outputs.append(Output("", tagged, value=examples.digest.encode()))
    refused = crossing.refusing_rule(tagged, TRAINING_RUN, STORE)
    extra: Rows = {
        "streams": [
            {"source": seed.SOURCE, "stream": seed.STREAM, "kind": "example", "captured": False},
            {"source": SOURCE, "stream": STREAM, "kind": "model", "captured": False},
        ],
        "models": [],
        "training_runs": [],
        "promotions": [],
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
    parts = assets.assets_of(licensed, (), policy.training_assets)
    if forbidden := assets.refused(parts):
        raise InputError(
            f"policy {policy.name}: {forbidden}; no model can be made under it: permit that in its "
            "[training_assets], or leave the list out"
        )
    extra["training_assets"] = asset_rows(1, "made", parts, now_ns)
    pointer = [] if refused else add_version(made, crossing, extra, None, 0, Measured(validation))
    if not pointer:
        raise InputError(
            f"policy {policy.name}: {refused or step.rejects[-1].cause.rule}: the licensed utterances that "
            "the first model is made of must be allowed to train and to be stored; change its sinks or "
            "seed_zone"
        )
    records, written = records_of(step, policy, (EXAMPLES, 0))
    records += lineage_of(step, written, policy, (EXAMPLES, 0), extra, (b"training/0", now_ns // 1_000_000))
    stamp = now_ns // 1_000_000
    return [
        Outgoing(POLICIES, 0, *record_of(policy), (), stamp),
        Outgoing(POLICIES, 0, CURRENT_KEY, pointer_to(policy), (), stamp),
        *records,
        *pointer,
    ]
