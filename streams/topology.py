"""READ FIRST: the stages, the topics between them and the feedback edges, as data.

`sightline topology` draws it.

One agent is one consumer group with one transaction per fetch. Agent `glasses` runs stages 1-4 as one pure
call per fetch of a partition of `glasses.captured`; agent `training` owns the single partition of
`glasses.examples`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streams.limits import EXAMPLES_AHEAD_MS_MAX

PARTITIONS_DEFAULT = 4
Cleanup = Literal["delete", "compact"]
#: Which values of a topic are sealed (`streams.sealing`): none, those whose label owes it, or all.
Sealing = Literal["never", "owed", "always"]
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
#: Topic settings by which a broker sets or limits the time of a record.
TIMESTAMPS, AHEAD_MS = "message.timestamp.type", "message.timestamp.after.max.ms"
#: From when a segment has expired to when a broker has removed its file: it looks every 5 minutes.
_REMOVED_MS = 10 * 60_000
#: A compacted topic keeps a record that was replaced, or taken out by one without a value, for this long.
_COMPACTED: Mapping[str, str] = {"segment.ms": str(_DAY_MS), "max.compaction.lag.ms": str(_DAY_MS)}


def _kept(most_ms: int, segment_ms: int) -> Mapping[str, str]:
    """Settings by which no record lies on a topic for longer than `most_ms`.

    A broker deletes whole segments, when the newest record of one has expired, and by default fills one for
    seven days.
    """
    return {"retention.ms": str(most_ms - segment_ms - _REMOVED_MS), "segment.ms": str(segment_ms)}


#: Records of devices and operators carry the broker's time, which retention, expiry and "now" are based on.
_BROKERS_TIME: Mapping[str, str] = {TIMESTAMPS: "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic: its key, its cleanup policy, and whether its partitions follow the devices.

    `single` topics have one partition, for one owner and one order; all others have the same number of
    partitions. `sealed` says which of its values are sealed.
    """

    name: str
    key: str
    cleanup: Cleanup
    holds: str
    single: bool = False
    sealed: Sealing = "never"
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def kept_ms(self) -> int:
        """How long a record is kept at most, ms; 0 if there is no such bound."""
        if "retention.ms" not in self.config:
            return 0
        return int(self.config["retention.ms"]) + int(self.config["segment.ms"]) + _REMOVED_MS

    @property
    def kept(self) -> str:
        """The same in words (`24 h`, `7 days`); empty if there is no such bound."""
        if not self.kept_ms:
            return ""
        hours, rest = divmod(self.kept_ms, _HOUR_MS)
        return f"{rest} ms" if not hours else f"{hours} h" if hours <= 48 else f"{hours // 24} days"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its folder, the agent that runs it (None: outside Faust), and what it reads and writes.

    `takes` is the sink that tagged data crosses into for this stage; it is empty for the zones, which tag the
    data. `streams` names the streams that it makes for a device; each can also have a hyphen and the name of
    the stream that it is derived from behind it (`activity-imu-left`).
    """

    name: str
    agent: str | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    takes: str = ""
    streams: tuple[str, ...] = ()


CAPTURED, ZONED, DERIVED = "glasses.captured", "glasses.zoned", "glasses.derived"
ANSWERS, EXAMPLES, MODELS = "glasses.answers", "glasses.examples", "glasses.models"
POLICIES, CONSENTS, STATE = "glasses.policies", "glasses.consents", "glasses.state"
REJECTED, LINEAGE = "glasses.rejected", "glasses.lineage"
NOTICES = "glasses.notices"
#: Sinks that are no topics: stages that process data, and the published store.
PROCESSING, ASSISTANT, FEEDBACK, TRAINING_RUN, STORE = (
    "processing",
    "assistant",
    "feedback",
    "training-run",
    "store",
)

TOPICS: tuple[Topic, ...] = (
    Topic(
        CAPTURED,
        "device",
        "delete",
        "device batches as sent, not yet tagged: nobody but zones reads it",
        config={**_kept(_DAY_MS, _HOUR_MS), **_BROKERS_TIME},
    ),
    Topic(
        ZONED,
        "device",
        "delete",
        "the same batches, tagged: for other teams",
        sealed="owed",
        config=_kept(_DAY_MS, _HOUR_MS),
    ),
    Topic(
        DERIVED,
        "device",
        "delete",
        "activity, fixation, speech, place, situation: for other teams",
        sealed="owed",
        config=_kept(7 * _DAY_MS, _DAY_MS),
    ),
    Topic(ANSWERS, "device", "delete", "answers: for the device", config=_kept(7 * _DAY_MS, _DAY_MS)),
    Topic(
        EXAMPLES,
        "device",
        "delete",
        "examples with their utterances; a training run reads all of it again",
        single=True,
        sealed="always",
        # An example has the time of its feedback, which sets training's "now". The limit keeps another writer
        # of this topic from setting a time so late that everybody's examples would have expired.
        config={**_kept(365 * _DAY_MS, 7 * _DAY_MS), AHEAD_MS: str(EXAMPLES_AHEAD_MS_MAX)},
    ),
    Topic(
        MODELS,
        "model/version, model/current",
        "compact",
        "model versions with manifest; the pointer",
        single=True,
        config=_COMPACTED,
    ),
    Topic(
        POLICIES,
        "policy/version, policy/current",
        "compact",
        "policy versions; the pointer",
        single=True,
        config=_COMPACTED,
    ),
    Topic(
        CONSENTS,
        "word/event id, pairing/device/drawn, erasure/mark/number",
        "compact",
        "every word of a wearer about the use of the own data, and who is bound to which device",
        single=True,
        config={**_COMPACTED, **_BROKERS_TIME},
    ),
    Topic(
        NOTICES,
        "event id/notice, event id/acknowledged, event id/receipt",
        "compact",
        "notices and receipts of consent for the device to show to its wearer, and which it has shown",
        config={**_COMPACTED, **_BROKERS_TIME},
    ),
    Topic(
        STATE,
        "agent/partition/device",
        "compact",
        "state of each device and the checkpoint offset",
        # What an erasure made a state let go of is compacted away within the hour.
        config={
            "segment.ms": "60000",
            "segment.bytes": str(16 * 1024 * 1024),
            "max.compaction.lag.ms": str(_HOUR_MS),
        },
    ),
    Topic(
        REJECTED,
        "device",
        "delete",
        "refused batches: place, reason, rule",
        config=_kept(_DAY_MS, _HOUR_MS),
    ),
    Topic(
        LINEAGE,
        "agent/partition",
        "delete",
        "lineage rows, one record a fetch",
        config=_kept(30 * _DAY_MS, _DAY_MS),
    ),
)

#: Topics whose values are kept for long, so that they are sealed under keys that can be destroyed.
SEALED: frozenset[str] = frozenset(topic.name for topic in TOPICS if topic.sealed == "always")
#: Topics that have sealed values: those, and those where a value is sealed if its label has this obligation.
#: Answers are not among them, because the device that asked has no keys.
SEALABLE: tuple[str, ...] = tuple(topic.name for topic in TOPICS if topic.sealed != "never")
SEALED_OBLIGATION = "local:Sealed"
_SINGLES = frozenset(topic.name for topic in TOPICS if topic.single)

STAGES: tuple[Stage, ...] = (
    Stage("zones", "glasses", (CAPTURED, POLICIES, CONSENTS), (ZONED, CONSENTS, NOTICES)),
    Stage(
        "processing",
        "glasses",
        (),
        (DERIVED,),
        PROCESSING,
        ("activity", "fixation", "speech", "place", "situation"),
    ),
    Stage("assistant", "glasses", (MODELS,), (ANSWERS,), ASSISTANT, ("answer",)),
    Stage("feedback", "glasses", (MODELS,), (EXAMPLES,), FEEDBACK, ("example",)),
    Stage("training", "training", (EXAMPLES, CONSENTS), (MODELS,), TRAINING_RUN),
    Stage("snapshots", None, (LINEAGE,), (), STORE),
)

#: Source of records that no device makes: models (`training/intent-model/3`) and the seed.
TRAINING_SOURCE = "training"
SEED_STREAM = "seed"
#: First part of the keys of what wearers said on `glasses.consents`. Keys name no wearer.
WORD_KEY = "word"
#: Words in keys of `glasses.consents` in place of a word or a device: for a pairing, and for an operator's
#: statement.
PAIRING_KEY, OPERATOR_KEY, ERASURE_KEY = "pairing", "operator", "erasure"
#: Names that no device and no wearer may have.
RESERVED_SOURCES: tuple[str, ...] = (TRAINING_SOURCE, PAIRING_KEY, OPERATOR_KEY, ERASURE_KEY)
#: Kinds with a single stream per device, of this name; derived streams do not carry that name.
SINGLE_STREAMS: Mapping[str, str] = {"voice_query": "voice-query", "feedback": "feedback", "review": "review"}

#: Sink for data that leaves the store in another way than as the answer to a question.
EXPORT = "export"
#: Sink for what a wearer asks about, and is handed, of the own data.
TO_WEARER = "ask:wearer"
#: Sink for what a person looks at to judge answers. A policy need not have it: then nobody looks.
REVIEW = "review"
#: Every place that tagged data crosses into. Each is a sink of the policy with a decision of its own
#: (docs/architecture.md, Policy). Notices are owed to the wearer whatever a policy permits, so none is asked.
CROSSINGS: tuple[str, ...] = tuple(
    dict.fromkeys(
        (
            *(name for stage in STAGES for name in (stage.takes, *stage.writes) if name not in {"", NOTICES}),
            EXPORT,
        )
    )
)

#: Kinds that a sink takes by name. `processing` also takes what operators read; of what is not named here,
#: each captured kind crosses into `glasses.zoned`, each kind that an operator makes into `glasses.derived`,
#: and every kind into the store.
TAKEN: Mapping[str, tuple[str, ...]] = {
    CONSENTS: ("consent_change",),
    PROCESSING: ("voice_query", "device_state"),
    ASSISTANT: ("voice_query", "erasure_request", "situation"),
    ANSWERS: ("answer",),
    FEEDBACK: ("feedback", "review"),
    EXAMPLES: ("example",),
    TRAINING_RUN: ("example",),
    MODELS: ("model",),
}
#: For each operator that makes something of several kinds: what it makes, and of which. A situation is also
#: made of what the operators of extensions make, if they let it show that.
MADE_OF: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "situation": ("situation", ("voice_query", "activity", "place")),
    "answer": ("answer", ("voice_query", "erasure_request", "situation", "model")),
    "example": ("example", ("feedback", "review", "answer", "voice_query", "model")),
    "training": ("model", ("example",)),
}
#: The kind that each operator that is shipped reads.
READ_BY: Mapping[str, str] = {
    "activity": "imu",
    "fixation": "gaze",
    "speech": "audio_level",
    "place": "location",
}

#: Those of them that make an event again, under its next revision, when samples come late.
REVISED: frozenset[str] = frozenset({"activity", "speech", "place"})

#: Edges that close the loop: reactions to answers and to notices re-enter at the zones, and a new model
#: changes later answers.
FEEDBACK_EDGES: tuple[tuple[str, str], ...] = ((ANSWERS, CAPTURED), (NOTICES, CAPTURED), (MODELS, ANSWERS))

#: Topics that the pipeline of every stage writes too, in the same transaction.
SIDE_TOPICS: tuple[str, ...] = (LINEAGE, REJECTED, STATE)

#: Stands for a stage if a record of `glasses.policies` was refused, because workers only follow that topic.
POLICIES_READ = "policies"
#: Source topic of each agent; `group` names its consumer group.
AGENTS: Mapping[str, str] = {"glasses": CAPTURED, "training": EXAMPLES}


def group(agent: str, prefix: str) -> str:
    """Return the consumer group of an agent; `prefix` is the prefix of groups."""
    return prefix + agent


def read_by(agent: str) -> tuple[str, ...]:
    """Topics that an agent's state depends on: those that its stages read, and the state's own topic."""
    return (
        *dict.fromkeys(name for stage in STAGES if stage.agent == agent for name in stage.reads),
        STATE,
    )


def written_by(agent: str) -> tuple[str, ...]:
    """Topics that an agent writes in its transactions.

    These are the outputs of its stages and the side topics that every stage's pipeline writes.
    """
    return (
        *dict.fromkeys(name for stage in STAGES if stage.agent == agent for name in stage.writes),
        *SIDE_TOPICS,
    )


def topic(name: str) -> Topic:
    """Return the declaration of topic `name`; KeyError if there is none."""
    return {t.name: t for t in TOPICS}[name]


def uneven(broker: str, counts: Mapping[str, int], partitions: int) -> str:
    """Return a sentence about topics with a wrong number of partitions; empty if there are none.

    `counts` are the actual numbers by topic; absent topics are not checked.
    """
    actual = {topic.name: counts[topic.name] for topic in TOPICS if counts.get(topic.name)}
    if all(count == partition_count(name, partitions) for name, count in actual.items()):
        return ""
    counted = ", ".join(
        f"{count} on {' and '.join(names) if len(names) < 3 else ', '.join(names)}"
        for count in sorted(set(actual.values()), reverse=True)
        for names in [[name for name, number in actual.items() if number == count]]
    )
    following = {count for name, count in actual.items() if not topic(name).single}
    singles = {count for name, count in actual.items() if topic(name).single}
    if len(following) == 1 and singles <= {1}:
        (whole,) = following
        remedy = f"use --partitions {whole}"
    else:
        remedy = (
            "somebody raised some of them, and nothing can lower them again. What is written to partitions "
            "that were not declared is not read. Let a worker that runs read what was sent, then begin "
            "with new topics (docs/operations.md, Partitions)"
        )
    return (
        f"Partitions on {broker}: found {counted}; expected {partitions} on each that follows devices and 1 "
        f"on the others, for the life of the topics: {remedy}"
    )


def partition_count(name: str, partitions: int = PARTITIONS_DEFAULT) -> int:
    """Return how many partitions topic `name` has when device topics have `partitions`."""
    return 1 if name in _SINGLES else partitions
