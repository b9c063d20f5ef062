"""Descriptions of the columns of the catalog's views, one text for each name, or for a column of one view."""

from __future__ import annotations

from collections.abc import Mapping

_TIME = "Same in TIMESTAMPTZ, microseconds: "
_CLUSTER = (
    "Id of the cluster whose log the offsets belong to, as the broker gave it; empty where it gave none."
)
_LOG = "Id of that log of glasses.lineage: a topic that is made again has another one; empty where unknown."
#: Text of a column in all views, except where SPECIAL has another one.
COLUMNS: Mapping[str, str] = {
    "source": "Device, or `training`: first part of an event id.",
    "stream": (
        "Stream of the source, with its incarnation after ~ if there is one: second part of an event id."
    ),
    "first": "Number of the run's first event.",
    "step": "Distance from one number of the run to the next.",
    "count": "Number of events in the run.",
    "number": "Number of the event in its stream: third part of its id.",
    "revision": (
        "How often the event was corrected; from 1 on it stands behind the number in the id: number.revision."
    ),
    "id": "Identity of the event: source/stream/number, or source/stream/number.revision.",
    "kind": "Kind of the events, such as imu or answer.",
    "zone": (
        "Policy zone: the highest-ranked one whose condition holds; "
        "of derived events, the highest of their parents'."
    ),
    "label": "Policy label, packed, in hexadecimal; the view labels has its words.",
    "rule": "What in the policy decided.",
    "policy_version": "Digest of the policy in force: the key of policies.",
    "wearer": "Pseudonym of the wearer.",
    "consent": (
        "Number of the consent record that the events were captured under, 0: none; "
        "of derived events, the lowest of their parents'."
    ),
    "session": "Session of the device.",
    "topic": "Kafka topic.",
    "partition": "Partition of the topic.",
    "offset": "Offset in the partition.",
    "bytes": "Size of the record's value, bytes.",
    "digest": "XXH3-128 of the record's value, in hexadecimal: tells equal from different, is no signature.",
    "split_from": "Digest of the batch that this one was cut out of; empty where it was not split.",
    "origin": "live, playback:<recording>, synthetic:<seed>, or training.",
    "epoch": "Epoch that published the row.",
    "t_ns": "When, by the device's clock: ns since the Unix epoch, UTC.",
    "t": _TIME + "t_ns.",
    "due": (
        "When it is due for deletion: the broker's time at its place, which retention goes by, and the days "
        "of the label's retention class, TIMESTAMPTZ; NULL where the policy is not known."
    ),
    "days": "Days for which it is kept, counted from the broker's time.",
    "over_ns": "Append time up to which it is over now: ns since the Unix epoch, UTC.",
    "until_ns": "Append time up to which it was over at clock_ns: ns since the Unix epoch, UTC.",
    "clock_ns": "Time of the writer's clock for which until_ns is told: ns since the Unix epoch, UTC.",
    "began_ns": "Append time of the first record of the store, 0: unknown: ns since the Unix epoch, UTC.",
    "events": "Number of events.",
    "refused": "Whether they were refused, so that they are no events.",
    "low": "Lowest number of the run.",
    "high": "Highest number of the run.",
    "appended": _TIME + "appended_ns.",
    "expired_ns": "Time of the broker at which they had left the store: ns since the Unix epoch, UTC.",
    "expired": _TIME + "expired_ns.",
    "operator": "Operator that made the child.",
    "operator_version": "Version of the operator.",
    "directness": "direct: the parent's values went in; indirect: it only chose or shaped the result.",
    "declassifier": (
        "Named reason why the child's label may be looser than the parent's; empty almost everywhere."
    ),
    "child_source": "Source of the child.",
    "child_stream": "Stream of the child.",
    "child_revision": "Revision of the children.",
    "child_first": "Number of the run's first child.",
    "child_step": "Distance from one child number to the next.",
    "child_count": "Number of children in the run.",
    "child_id": "Identity of the child: source/stream/number, or source/stream/number.revision.",
    "child_number": "Number of the child in its stream.",
    "parent_source": "Source of the parents.",
    "parent_stream": "Stream of the parents.",
    "parent_revision": "Revision of the parents.",
    "parent_first": "Number of the first child's first parent.",
    "parent_step": "How far the parents move on from one child to the next; 0: all children have the same.",
    "parent_width": "Number of consecutive parents a child has.",
    "parent_id": "Identity of the parent: source/stream/number, or source/stream/number.revision.",
    "parent_number": "Number of the parent in its stream.",
    "version": "Model version: the number of the model in its stream.",
    "accuracy": "Share of the licensed validation set that the version understands, 0 to 1.",
    "published_ns": "When it was published: ns since the Unix epoch, UTC.",
    "published": _TIME + "published_ns.",
    "appended_ns": (
        "The broker's time at that place of glasses.captured (never before that of an earlier place), which"
        " retention and expiry go by: ns since the Unix epoch, UTC."
    ),
    "offsets": "Next offset of glasses.lineage by partition: the epoch holds everything before it.",
    "rows": "Number of rows that the epoch added, in all tables.",
}

#: Text of `view.column` where the common text does not fit.
SPECIAL: Mapping[str, str] = {
    "streams.captured": "Whether a device captured the events; otherwise they are derived.",
    "streams.epoch": "Epoch in which the stream appeared.",
    "events.t_first_ns": (
        "Capture time of the first event on the device's clock: ns since the Unix epoch, UTC."
    ),
    "events.t_last_ns": "Capture time of the last event on the device's clock: ns since the Unix epoch, UTC.",
    "events.t_first": _TIME + "t_first_ns.",
    "events.t_last": _TIME + "t_last_ns.",
    **{
        f"{view}.{column}": text
        for view in ("events", "event_records")
        for column, text in (
            (
                "topic",
                "glasses.captured for captured events, else the topic that the derived ones were written to.",
            ),
            (
                "partition",
                (
                    "Partition of glasses.captured (models: of glasses.examples) with the record that "
                    "brought or completed them."
                ),
            ),
            ("offset", "Offset, in that partition, of the record that brought or completed them."),
            (
                "rule",
                "Zone of the policy that took the events, or that the label is joined from the parents'.",
            ),
        )
    },
    "event_records.t_ns": (
        "Capture time by the device's clock, inside a run as if evenly spaced: ns since the Unix epoch, UTC."
    ),
    "labels.categories": "Categories of data: words of the W3C Data Privacy Vocabulary and local ones.",
    "labels.subjects": "Whom the data can be about: wearer, bystander, minor.",
    "labels.purposes": "Purposes that are permitted.",
    "labels.regions": "Regions where it may be.",
    "labels.obligations": "What a sink must honour.",
    "labels.retention": "Retention class: how long it may be held.",
    "labels.retention_days": "Days of the retention class.",
    "labels.nature": "How it came about: provided, observed, derived or inferred.",
    "vocabularies.categories": "Categories of data.",
    "vocabularies.subjects": "Classes of persons whom data can be about.",
    "vocabularies.purposes": "Purposes.",
    "vocabularies.regions": "Regions.",
    "vocabularies.obligations": "Obligations.",
    "vocabularies.retentions": "Retention classes, the shortest first.",
    "vocabularies.retention_days": "Days of each retention class.",
    "vocabularies.natures": "Natures of data, from the least to the most derived.",
    "decisions.id": "Identity of the run's first event; a decision does not say its revision.",
    "decisions.t_ns": (
        "Capture time of the run's first event on the device's clock: ns since the Unix epoch, UTC."
    ),
    "decisions.sink": (
        "Where the events would go: a topic, a stage that works on them, store, or training-run."
    ),
    "decisions.purpose": "What the sink is for, a W3C DPV term.",
    "decisions.verdict": "allow, deny or unconfigured (no zone, no label or no rule: treated as deny).",
    "decisions.passed": (
        "Whether the events went on; a logging zone lets a deny pass, nothing lets unconfigured pass."
    ),
    "decisions.mode": "Mode of the zone at this sink: enforcing or logging.",
    "decisions.attributes": "The attributes that the decision looked at, name=value.",
    "decisions.consent": "Number of the consent record that the device knew; 0: none.",
    "decisions.consent_state": (
        "How that consent stood: none (not on record), given for purposes, expired, withdrawn; empty: the"
        " data is no one person's."
    ),
    "decisions.wearer": "Pseudonym of the person; empty for what is no one person's.",
    "decisions.at_ns": (
        "The broker's time that the decision looked at where it is not appended_ns (that of a training run),"
        " else 0; ns since the Unix epoch, UTC."
    ),
    "decisions.at": (
        "Time that the decision looked at, TIMESTAMPTZ, microseconds: at_ns, or appended_ns where that is 0."
    ),
    "shadow.t_ns": (
        "Capture time of the run's first event on the device's clock: ns since the Unix epoch, UTC."
    ),
    "shadow.zone": "Zone under the policy in force; empty where it never decided.",
    "shadow.verdict": "Verdict of the policy in force: allow, deny, unconfigured, or not-asked.",
    "shadow.rule": "Rule of the policy in force.",
    "shadow.sink": "Where the events would go: a topic, a stage, store, or training-run.",
    "shadow.next_version": "Version of the policy that may come next.",
    "shadow.next_zone": "Zone under the next policy; empty where it never decided.",
    "shadow.next_verdict": "Verdict of the next policy: allow, deny, unconfigured, or not-asked.",
    "shadow.next_rule": "Rule of the next policy.",
    "rejected.wearer": "Pseudonym of the person; empty where the record could not be read.",
    "rejected.count": (
        "Number of events in the run; of a malformed record as many as it claims, 0 where it does not say."
    ),
    "rejected.stage": "Stage that refused.",
    "rejected.reason": "Why, as a sentence; never a value of the record.",
    "rejected.outcome": (
        "What became of it: refused (by a rule), malformed (nobody could read it: source, stream and numbers "
        "are what it claims to be), repeated (dropped: the "
        "events are stored once), collision (other data came under these numbers), clock (captured too far "
        "from when the broker took it), late (its place was given up)."
    ),
    "rejected.rule": (
        "malformed, poisoned, limits, repeat (dropped: the events are stored once), forged or duplicate (a "
        "lineage record, or rows of it, that no agent can have written or that stand already), "
        "why feedback made no "
        "example (feedback, negated, asked-again, stopped, not-understood, rated-low, raters-disagree), or "
        "the rule of the policy."
    ),
    "rejected.zone": "Zone of the events; malformed for what nobody could read; empty for repeats.",
    "rejected.topic": "Topic that the record was read from.",
    "rejected.digest": "Digest of the value (XXH3-128; of a bad lineage record SHA-256), in hexadecimal.",
    "models.digest": "Digest of the model's weights, in hexadecimal.",
    "models.examples": "Number of examples it was fitted on, the seed set included.",
    "models.wearers": "Number of wearers among the admitted examples.",
    "models.trained_ns": "Event time of the example that triggered the run: ns since the Unix epoch, UTC.",
    "models.trained": _TIME + "trained_ns.",
    "models.retrain_by_ns": (
        "When it may no longer serve without being made again: ns since the Unix epoch, UTC."
    ),
    "models.retrain_by": _TIME + "retrain_by_ns.",
    "training_runs.version": "Model version that the run made.",
    "training_runs.seed_examples": "Number of licensed examples that every version starts with.",
    "training_runs.refused": "Number of wearers' examples that the gate refused.",
    "training_runs.manifest_digest": (
        "Digest of the manifest, which stands on glasses.models: XXH3-128 in hexadecimal."
    ),
    "training_runs.evaluation_examples": (
        "Number of licensed utterances that accuracy was measured on; none was learned from."
    ),
    "training_runs.trigger": "Identity of the example whose admission started the run.",
    "training_runs.admitted": "Number of wearers' examples that the version was fitted on.",
    "promotions.version": "Model version that was judged.",
    "promotions.outcome": (
        "promoted (it serves from then on), declined (it never serves), or rolled-back (it serves again, by "
        "an operator or because feedback turned)."
    ),
    "promotions.against": "Model version that served before, and was compared with it; 0 for the first one.",
    "promotions.reason": "Why it was declined, or why it serves again; empty if it was promoted.",
    "promotions.split_seed": "Seed of the draw that keeps examples for validation and test.",
    "promotions.kept_validation": "Number of wearers' examples that were kept for validation.",
    "promotions.kept_test": "Number of wearers' examples that were kept for the test, and not read.",
    "promotions.compared": "Number of examples in the validation set, the licensed ones included.",
    "promotions.validation_digest": (
        "Digest of the validation set, made of digests of its utterances: XXH3-128 in hexadecimal."
    ),
    "promotions.better": "Number of examples that only this version understood.",
    "promotions.worse": "Number of examples that only the version before understood.",
    "promotions.p_value": (
        "Chance of so many losses or more if both versions are equally good: exact, one-sided."
    ),
    "training_checks.version": "Model version that the run made, or would have made if it was not held.",
    "training_checks.name": "What was looked at, such as repeated or outlier; docs/loop.md explains each.",
    "training_checks.subject": "Intent, zone, wearer or device that it is about; empty if it is about all.",
    "training_checks.outcome": "passed, held (no version was made), weighted or left-out (of learning).",
    "training_checks.examples": "Number of examples of which it is true.",
    "training_checks.judged": "Number of examples that were looked at.",
    "training_checks.percent": "Share of the examples that were looked at, in percent.",
    "training_checks.percent_max": (
        "Bound in percent; of an outlier, what the others contradict; of a weight, how much each counts."
    ),
    "training_runs.split_seed": "Seed of the draw that keeps examples for validation and test.",
    "training_runs.licences": "SPDX names of the licences of what it learned from and was measured on.",
    "training_runs.build": "Digest of the code that made the version, with the versions of its libraries.",
    "training_assets.version": "Model version that the run made, or would have made.",
    "training_assets.outcome": "What came of the run: made (the version), refused, held or failed.",
    "training_assets.kind": "seed, validation (both licensed), stream (of examples) or build (the code).",
    "training_assets.name": "File, stream, or release of Sightline.",
    "training_assets.licence": "SPDX name of its licence; empty of streams, whose examples have labels.",
    "training_assets.digest": (
        "Of a file, XXH3-128 of its bytes; of a build, that of its code and the versions of its libraries; "
        "empty of streams."
    ),
    "training_assets.examples": "Number of examples in it that the run looked at, outliers included.",
    "training_assets.rule": "Rule of the policy that forbids training with it; empty if it is permitted.",
    "feedback.first": "Number of the feedback in its stream.",
    "feedback.id": "Identity of the feedback: source/stream/number.",
    "feedback.answer_id": "Identity of the answer that it is about.",
    "feedback.answer_stream": "Stream of the answer.",
    "feedback.answer": "Number of the answer.",
    "feedback.version": "Model version that gave the answer.",
    "feedback.candidate": "Model version that answered the same query in shadow; 0 for none.",
    "feedback.candidate_meaning": "What the feedback says of that answer; empty if there is none.",
    "feedback.form": "How it was given: thumb, choice, spoken, rating, or review.",
    "feedback.meaning": (
        "confirmed (the answer was right), corrected (another intent was meant), denied (it was wrong, and "
        "nobody said what was meant) or unclear."
    ),
    "inputs.kind": (
        "What was taken up: policy (the first), model-takeup, model-candidate (answers in shadow), "
        "model-rollback, policy-takeup, consent-takeup, example-order "
        "(what training read), lost-records (what was removed before it was read), or lost-state (what was "
        "processed, and removed before a checkpoint knew it)."
    ),
    "inputs.agent": "Agent that took it up: glasses or training.",
    "inputs.offset": "First offset of the partition for which the value was in force.",
    "inputs.value": (
        "What was in force from there on, such as a model version; for example-order the examples of one "
        "fetch, in order; for consent-takeup what wearers said on other partitions; for lost-records and "
        "lost-state the first and last offset (no last one where the topic was made again)."
    ),
    "policies.version": "Digest of the policy's content.",
    "policies.name": "Name of the policy.",
    "policies.text": "The whole policy, as it was published.",
    "epochs.epoch": "Number of the epoch.",
    "epoch_rows.epoch": "Number of the epoch.",
    "epochs.cluster": _CLUSTER,
    "epochs.topic": _LOG,
    "epoch_rows.cluster": _CLUSTER,
    "epoch_rows.topic": _LOG,
    **{
        f"{table}.{column}": text
        for table in ("segments", "indexes")
        for column, text in (
            ("file", "Path of the file, relative to the store's directory."),
            ("first_epoch", "Earliest epoch of its rows."),
            ("last_epoch", "Latest epoch of its rows."),
            ("bytes", "Size of the file, bytes."),
            ("digest", "XXH3-128 of the file, in hexadecimal: finds damage, is no signature."),
        )
    },
    "segments.table_name": "Table whose rows it holds.",
    "segments.rows": "Number of rows in the file.",
    "segments.classes": "Numbers of the classes of its rows, sorted; NULL where they are not known.",
    "segments.fresh": "Whether it is as an epoch wrote it; otherwise rows of several epochs were folded.",
    "indexes.edges": "Number of rows about edges.",
    "indexes.zone_runs": "Number of rows about zones.",
    "spans.file": "Path of the Parquet file, relative to the store's directory.",
    "spans.role": "Whose numbers lowest and highest are: own, or those of an edge's child or parent.",
    "spans.source": "Source of the stream that the row is about.",
    "spans.stream": "Stream that the row is about.",
    "spans.lowest": "Lowest number of the stream in the file.",
    "spans.highest": "Highest number of the stream in the file.",
    "io_coverage.operation": "What is done.",
    "io_coverage.direction": "read or write.",
    "io_coverage.asset": (
        "What it reads or writes: topic, state, store, model, training, export, journal, recording, answer."
    ),
    "io_coverage.done_by": "Stage, agent or command that does it.",
    "io_coverage.linked": (
        "Whether the link from what is written to what it was made from is recorded; of a read, whether that "
        "is so of something written from it. Their share is the coverage."
    ),
    "io_coverage.reads": "Of a write: operations whose data it is made from.",
    "io_coverage.recorded_in": (
        "Where the link is recorded: tables, reads.jsonl (the audit log), or record (what is written names "
        "its own sources); empty of reads, and where it is not recorded."
    ),
    "io_coverage.reason": "Why it is not recorded; empty if it is.",
    "io_coverage.sites": "Number of places in the code that do it.",
    **{
        f"{view}.{column}": text
        for view in ("io_coverage", "io_counts")
        for column, text in (
            ("counted", "Table whose rows count it; empty where the store cannot know."),
            ("counted_key", "Which rows of that table: a sink, a topic, an operator or a kind of input."),
        )
    },
    "io_counts.observed": (
        "Events that passed the sink, events, children with a model among their parents, rejected events, "
        "inputs, or epochs."
    ),
    "zone_runs.low": "Lowest number of the run.",
    "zone_runs.high": "Highest number of the run.",
    "zone_runs.consent": "Number of the consent record that the events were captured under; 0: none.",
    "zone_runs.epoch": "Epoch that published the last of it.",
    "classes.class": "Number of the class.",
    "erasures.number": "Number of the erasure in its key store.",
    "erasures.at_ns": "What was captured up to this time is erased, ns since the Unix epoch, UTC.",
    "erasures.epoch": "Epoch from which on it is in no table.",
    "erasures.rows": "Number of rows that were removed or lost a part.",
    "erasures.files": "Number of files that were written again or removed.",
    "erasures.rewritten_ns": "When that epoch was published, ns since the Unix epoch, UTC.",
    "erasures.absent_ns": (
        "When the last file that had any of it was gone too, ns since the Unix epoch, UTC; 0: not yet."
    ),
    "store.id": "Random name of the store; it stands in its files' names.",
    "store.version": "Version of the store's layout.",
    "store.cluster": "Id of the Kafka cluster whose glasses.lineage was taken in; empty when not known.",
    "store.topic": "Id of that topic; empty when not known.",
    "store.partitions": "Partitions of glasses.lineage that the store holds; NULL: all.",
    "store.partition_count": "How many partitions that topic has; NULL where the store holds all.",
}
