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
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
#: The settings by which a broker rules a record's time.
TIMESTAMPS, AHEAD_MS = "message.timestamp.type", "message.timestamp.after.max.ms"
#: What devices and operators write carries the broker's time: retention, expiry and "now" go by it.
_BROKERS_TIME: Mapping[str, str] = {TIMESTAMPS: "LogAppendTime"}


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic: what its key is, how it is cleaned up, and whether its partitions follow the devices.

    `single` topics have one partition for the sake of one owner and one order; all others have the same
    count.
    """

    name: str
    key: str
    cleanup: Cleanup
    holds: str
    single: bool = False
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its folder, the agent that runs it (None: outside Faust), what it reads and what it writes.

    `takes` is the sink that tagged data crosses into when the stage works on it; empty at the zones, where
    data gets its tag. `streams` names the streams that it makes for a device, each also with a hyphen and the
    stream read behind it (`activity-imu-left`).
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
#: Sinks that are no topics: stages that work on data, and the published store.
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
        config={"retention.ms": str(_DAY_MS), **_BROKERS_TIME},
    ),
    Topic(
        ZONED,
        "device",
        "delete",
        "the same batches, tagged: for other teams",
        config={"retention.ms": str(7 * _DAY_MS)},
    ),
    Topic(
        DERIVED,
        "device",
        "delete",
        "activity, fixation, speech, place, situation: for other teams",
        config={"retention.ms": str(7 * _DAY_MS)},
    ),
    Topic(ANSWERS, "device", "delete", "answers: for the device", config={"retention.ms": str(7 * _DAY_MS)}),
    Topic(
        EXAMPLES,
        "device",
        "delete",
        "examples with their utterances; a training run reads all of it again",
        single=True,
        # An example bears the time of its feedback, and training's "now" goes by it: whoever else writes here
        # cannot name a time at which everybody's examples were over.
        config={"retention.ms": str(365 * _DAY_MS), AHEAD_MS: str(EXAMPLES_AHEAD_MS_MAX)},
    ),
    Topic(
        MODELS,
        "model/version, model/current",
        "compact",
        "model versions with manifest; the pointer",
        single=True,
    ),
    Topic(POLICIES, "policy/version, policy/current", "compact", "policy versions; the pointer", single=True),
    Topic(
        CONSENTS,
        "wearer/event id, pairing/device/wearer",
        "compact",
        "every word of a wearer about the use of the own data, and who is bound to which device",
        single=True,
        config=_BROKERS_TIME,
    ),
    Topic(
        STATE,
        "agent/partition/device",
        "compact",
        "state of each device and the checkpoint offset",
        config={"segment.ms": "60000", "segment.bytes": str(16 * 1024 * 1024)},
    ),
    Topic(
        REJECTED,
        "device",
        "delete",
        "refused batches: place, reason, rule",
        config={"retention.ms": str(_DAY_MS)},
    ),
    Topic(
        LINEAGE,
        "agent/partition",
        "delete",
        "lineage rows, one record a fetch",
        config={"retention.ms": str(365 * _DAY_MS)},
    ),
)

_SINGLES = frozenset(topic.name for topic in TOPICS if topic.single)

STAGES: tuple[Stage, ...] = (
    Stage("zones", "glasses", (CAPTURED, POLICIES, CONSENTS), (ZONED, CONSENTS)),
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

#: Source of what no device makes: models (`training/intent-model/3`) and the seed.
TRAINING_SOURCE = "training"
#: Words that stand in keys of `glasses.consents` where a wearer or a device could: of a pairing, and of an
#: operator's own words.
PAIRING_KEY, OPERATOR_KEY = "pairing", "operator"
#: What no device and no wearer may be called.
RESERVED_SOURCES: tuple[str, ...] = (TRAINING_SOURCE, PAIRING_KEY, OPERATOR_KEY)
#: Kinds of which a device has one stream, of this name: what is made of it is not named after it.
SINGLE_STREAMS: Mapping[str, str] = {"voice_query": "voice-query", "feedback": "feedback"}

#: What leaves the store other than by a question.
EXPORT = "export"
#: Every place that tagged data crosses into: each is a sink of the policy, and a decision is made at each
#: (docs/architecture.md, Policy).
CROSSINGS: tuple[str, ...] = tuple(
    dict.fromkeys((*(name for stage in STAGES for name in (stage.takes, *stage.writes) if name), EXPORT))
)

#: Where the loop closes: what people do with answers re-enters at the zones; a new model shapes the next
#: answers.
FEEDBACK_EDGES: tuple[tuple[str, str], ...] = ((ANSWERS, CAPTURED), (MODELS, ANSWERS))

#: Every stage's pipeline writes these too, in the same transaction.
SIDE_TOPICS: tuple[str, ...] = (LINEAGE, REJECTED, STATE)

#: What stands for a stage where a record of `glasses.policies` was refused: workers follow that topic.
POLICIES_READ = "policies"
#: Source topic of each agent; `group` names its consumer group.
AGENTS: Mapping[str, str] = {"glasses": CAPTURED, "training": EXAMPLES}


def group(agent: str, prefix: str) -> str:
    """Return the consumer group of an agent, where the names of groups begin with `prefix`."""
    return prefix + agent


def read_by(agent: str) -> tuple[str, ...]:
    """Names of the topics that an agent's state is made of: those of its stages, and where it is stored."""
    return (
        *dict.fromkeys(name for stage in STAGES if stage.agent == agent for name in stage.reads),
        STATE,
    )


def written_by(agent: str) -> tuple[str, ...]:
    """Names of the topics that an agent writes in its transactions.

    These are the topics of its stages, and what every stage's pipeline writes.
    """
    return (
        *dict.fromkeys(name for stage in STAGES if stage.agent == agent for name in stage.writes),
        *SIDE_TOPICS,
    )


def topic(name: str) -> Topic:
    """Return the declaration of topic `name`; KeyError if there is none."""
    return {t.name: t for t in TOPICS}[name]


def uneven(broker: str, counts: Mapping[str, int], partitions: int) -> str:
    """Return the sentence about topics whose partitions are not as many as declared; empty if all are.

    `counts` are those that were found, by topic; topics that are not there are not looked at.
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
