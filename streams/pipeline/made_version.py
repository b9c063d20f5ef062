"""Publish a model version, with the lineage of the examples that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import orjson

from streams.errors import MalformedError
from streams.events.batch import Batch
from streams.events.digest import digest
from streams.events.headers import pack_parents
from streams.events.identity import EventId
from streams.events.record import Outgoing
from streams.events.runs import Run
from streams.limits import MODEL_BYTES_MAX, SPLIT_SEED
from streams.lineage.record import model_parents
from streams.lineage.rows import Row, Rows
from streams.models.pointer import Pointer, Rollback
from streams.models.version import CURRENT_KEY, SOURCE, STREAM, Manifest, ModelVersion, version_key
from streams.policy.crossing import Crossing
from streams.policy.policy import JOIN_RULE
from streams.policy.rules import RunOutcome
from streams.policy.step import Cause, Output, Reject, Tagged
from streams.topology import MODELS, STORE
from streams.training import seed
from streams.training.assets import Asset
from streams.training.promotion import Measured
from streams.training.quality import Check

#: Columns of `promotions` where nothing was compared.
_UNMEASURED: Row = {
    "split_seed": SPLIT_SEED,
    "kept_validation": 0,
    "kept_test": 0,
    "compared": 0,
    "validation_digest": "",
    "better": 0,
    "worse": 0,
    "p_value": 1.0,
}


def add_version(
    made: ModelVersion,
    crossing: Crossing,
    extra: Rows,
    trigger: EventId | None,
    position: int,
    measured: Measured,
) -> list[Outgoing]:
    """Add the output of a version to the step, and its rows to `extra`.

    Return the record that makes it the current version, or none if it was declined or the policy refuses it.

    `trigger` is the example that started the training run, None for the first version. A model is not one
    person's data; the manifest says whose examples it was trained on, and under which consents.

    MalformedError if the record would be larger than MODEL_BYTES_MAX; nothing is added then.
    """
    manifest: Manifest = made.manifest
    value = made.dump()
    batch = Batch(
        kind="model",
        source=SOURCE,
        wearer_id="",
        session_id="",
        stream=STREAM,
        run=Run(made.version, 1, 1),
        t0_ns=made.trained_ns,
        dt_ns=0,
        origin="training",
        context=None,
        columns={},
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
    step, refused = crossing.step, crossing.refusing_rule(tagged, MODELS, STORE)
    if refused:
        step.rejects.append(
            Reject.refused(
                batch,
                Cause("training", refused, f"policy: {refused}"),
                zone=made.zone,
                key=version_key(made.version),
                value=value,
            )
        )
        return []
    step.outputs.append(Output(MODELS, tagged, "training", 1, parents, value))
    _add_rows(made, extra, len(value), trigger, measured)
    if made.declined:
        return []
    return [pointer_to(Pointer(made.version), made.trained_ns)]


def pointer_to(pointer: Pointer, now_ns: int) -> Outgoing:
    """Record that makes a version the current one."""
    content_type = ("content-type", b"application/json")
    return Outgoing(MODELS, 0, CURRENT_KEY, pointer.dump(), (content_type,), now_ns // 1_000_000)


def _add_rows(
    made: ModelVersion, extra: Rows, size: int, trigger: EventId | None, measured: Measured
) -> None:
    """Add the rows of a version, whose record has `size` bytes, and of its training run."""
    manifest = made.manifest
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
            "bytes": size,
        }
    )
    extra["training_runs"].append(
        {
            "version": made.version,
            "policy_version": made.policy_version,
            "seed_examples": manifest.seed_examples,
            "admitted": sum(run.count for _, _, run in manifest.admitted),
            "refused": sum(run.count for _, _, run, _ in manifest.refused),
            "manifest_digest": digest(orjson.dumps(manifest.dump())),
            "evaluation_examples": measured.validation.licensed,
            "accuracy": made.accuracy,
            "trigger": str(trigger or "seed"),
            "t_ns": made.trained_ns,
        }
    )
    verdict, validation = measured.verdict, measured.validation
    extra["promotions"].append(
        {
            **_UNMEASURED,
            "version": made.version,
            "outcome": "declined" if made.declined else "promoted",
            "against": measured.against,
            "reason": made.declined,
            "kept_validation": sum(run.count for _, _, run in manifest.validation),
            "kept_test": sum(run.count for _, _, run in manifest.test),
            "compared": len(validation.pairs),
            "validation_digest": validation.digest,
            "better": verdict.better,
            "worse": verdict.worse,
            "p_value": verdict.p_value,
            "t_ns": made.trained_ns,
        }
    )


def check_rows(version: int, checks: Sequence[Check], t_ns: int) -> list[Row]:
    """Rows of `training_checks` for a run that made `version`, or would have made it."""
    return [
        {
            "version": version,
            "name": check.name,
            "subject": check.subject,
            "outcome": check.outcome,
            "examples": check.examples,
            "judged": check.judged,
            "percent_max": float(check.percent_max),
            "t_ns": t_ns,
        }
        for check in checks
    ]


def asset_rows(version: int, outcome: RunOutcome, assets: Sequence[Asset], t_ns: int) -> list[Row]:
    """Rows of `training_assets` for a run that made `version`, or would have made it."""
    return [{"version": version, "outcome": outcome, **asdict(asset), "t_ns": t_ns} for asset in assets]


def rollback_row(rollback: Rollback) -> Row:
    """Row of `promotions` for a return to an earlier version."""
    return {
        **_UNMEASURED,
        "version": rollback.version,
        "outcome": "rolled-back",
        "against": rollback.before,
        "reason": rollback.why,
        "t_ns": rollback.at_ns,
    }
