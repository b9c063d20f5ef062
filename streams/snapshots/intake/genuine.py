"""Check that the agent in a record's key can have written its rows: their ids, places and policies.

Each check looks at columns, or at their few distinct values. If a row fails, its whole record is refused,
because no agent wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa

from streams.errors import InputError
from streams.events.kinds import Kinds
from streams.limits import EVENTS_PER_FETCH_MAX, LINEAGE_CHILDREN_MAX, NUMBER_MAX
from streams.lineage.tables import FIRST_POLICY
from streams.policy import label as lattice
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.stored import read_stored
from streams.policy.vocabulary import LISTS
from streams.snapshots.intake.lookup import Lookup
from streams.snapshots.rows.columns import unfit_value
from streams.snapshots.rows.poll import (
    FORGED,
    LIMITS,
    MALFORMED,
    Mask,
    Numbers,
    Poll,
    numbers,
)
from streams.topology import (
    AGENTS,
    CAPTURED,
    DERIVED,
    MODELS,
    POLICIES,
    POLICIES_READ,
    RESERVED_SOURCES,
    STAGES,
    STORE,
    TRAINING_RUN,
    TRAINING_SOURCE,
)

GLASSES, TRAINING = "glasses", "training"
#: Topics of the events that training records, by kind.
_OF_TRAINING: Mapping[str, str] = {"model": MODELS, "example": ""}
_TRAININGS_SINKS = (TRAINING_RUN, MODELS, STORE)


@lru_cache(maxsize=16)
def _topics(kinds: Kinds) -> Mapping[str, str]:
    """Topic that events of each kind are recorded with; kinds that no stage names are made by operators."""
    return {
        **{kind.name: CAPTURED for kind in kinds.captured},
        **{kind.name: DERIVED for kind in kinds.derived},
        **{name: stage.writes[0] for stage in STAGES for name in stage.streams},
    }


def check(poll: Poll) -> None:
    """Refuse records of a poll with rows that the agent in their key does not write.

    This needs no access to the store; checks that do are in `check_tags`.
    """
    for table, checked in _CHECKS.items():
        if table in poll.tables:
            checked(poll)
    poll.drop()
    _policies(poll)
    poll.drop()


def _past(first: Numbers, step: Numbers, count: Numbers) -> Mask:
    """Runs that end beyond NUMBER_MAX, computed without overflow."""
    past: Mask = (count > 1) & (step > (NUMBER_MAX - first) // np.maximum(count - 1, 1))
    return past


def _runs(poll: Poll, table: str) -> None:
    content = poll.tables[table]
    past = _past(*(numbers(content, name) for name in ("first", "step", "count")))
    poll.refuse(table, past, MALFORMED, ": found a run that ends beyond the highest number")


def _sources(poll: Poll, table: str, name: str) -> None:
    """Refuse sources that the agent does not write for: glasses writes for devices, training for itself."""
    reserved = poll.is_in(table, name, *RESERVED_SOURCES)
    own = poll.is_in(table, name, TRAINING_SOURCE)
    wrong = (poll.by(table, GLASSES) & reserved) | (poll.by(table, TRAINING) & ~own)
    poll.refuse(table, wrong, FORGED, f".{name}: found a source that this agent does not write for")


def _fits(poll: Poll, table: str, names: Iterable[str], fits: Callable[..., bool]) -> Mask:
    """Rows whose combination of column values does not satisfy `fits`."""
    different, which = poll.distinct(table, *names)
    wrong: Mask = np.fromiter((not fits(*values) for values in different), bool, len(different))[which]
    return wrong


def _named(stream: str, name: str) -> bool:
    """Whether a stream has the name of a derived kind, alone or followed by the stream that it reads."""
    base = stream.partition("~")[0]
    return base == name or base.startswith(f"{name}-")


def _streams(poll: Poll) -> None:
    _sources(poll, "streams", "source")
    wrong = _fits(
        poll,
        "streams",
        ("stream", "kind", "captured", "source"),
        lambda stream, kind, captured, source: (
            captured is poll.kinds[kind].captured
            and (captured or source == TRAINING_SOURCE or _named(stream, kind))
        ),
    )
    poll.refuse("streams", wrong, FORGED, ": found a kind that a stream of this name does not have")


def _events(poll: Poll) -> None:
    content = poll.tables["events"]
    _runs(poll, "events")
    _sources(poll, "events", "source")
    poll.refuse(
        "events", numbers(content, "step") != 1, MALFORMED, ".step: found a batch of numbers with holes"
    )
    backwards = numbers(content, "t_first_ns") > numbers(content, "t_last_ns")
    poll.refuse("events", backwards, MALFORMED, ": found a batch that ends before it begins")
    kinds = poll.words("events", "kind")
    made = ~kinds.are(poll.kinds[kind].captured for kind in kinds.values) & poll.by("events", GLASSES)
    corrected = numbers(content, "revision") > 0
    poll.refuse("events", corrected & ~made, FORGED, ".revision: found one of an event that nobody corrects")
    elsewhere = numbers(content, "partition") != poll.partition_of("events")
    poll.refuse("events", elsewhere, FORGED, ".partition: found another one than the record's")
    for agent, topics in ((GLASSES, _topics(poll.kinds)), (TRAINING, _OF_TRAINING)):
        wrong = _fits(
            poll,
            "events",
            ("kind", "topic", "stream"),
            lambda kind, topic, stream, topics=topics: (
                topics.get(kind) == topic
                and (topics is _OF_TRAINING or poll.kinds[kind].captured or _named(stream, kind))
            ),
        )
        poll.refuse(
            "events",
            wrong & poll.by("events", agent),
            FORGED,
            ": found a kind that this agent does not write",
        )


def _edges(poll: Poll) -> None:
    content = poll.tables["edges"]
    first, step, count = (numbers(content, f"child_{name}") for name in ("first", "step", "count"))
    start, advance, width = (numbers(content, f"parent_{name}") for name in ("first", "step", "width"))
    past = _past(first, step, count) | _past(start, advance, count)
    past[~past] |= (start + advance * (count - 1))[~past] > NUMBER_MAX - (width[~past] - 1)
    poll.refuse("edges", past, MALFORMED, ": found a run that ends beyond the highest number")
    poll.refuse("edges", count * width > EVENTS_PER_FETCH_MAX, LIMITS, ": found more pairs than a fetch has")
    owners = poll.owners["edges"]
    children = np.bincount(owners, count, len(poll.places))[owners]
    poll.refuse("edges", children > LINEAGE_CHILDREN_MAX, LIMITS, ": found more children than a fetch makes")
    _sources(poll, "edges", "child_source")
    crossed = poll.by("edges", GLASSES) & _fits(
        poll,
        "edges",
        ("child_source", "parent_source"),
        lambda child, parent: parent in (child, TRAINING_SOURCE),
    )
    poll.refuse("edges", crossed, FORGED, ": found a parent that belongs to another device than the child")
    wrong = _fits(
        poll,
        "edges",
        ("operator", "child_stream", "child_source"),
        lambda operator, stream, source: (
            operator == TRAINING if source == TRAINING_SOURCE else _named(stream, operator)
        ),
    )
    poll.refuse("edges", wrong, FORGED, ".operator: found one that does not make streams of this name")


def _decisions(poll: Poll) -> None:
    trainings = poll.by("decisions", TRAINING)
    _runs(poll, "decisions")
    reserved = poll.is_in("decisions", "source", *RESERVED_SOURCES)
    of_training, gate = (
        poll.is_in("decisions", "sink", *_TRAININGS_SINKS),
        poll.is_in("decisions", "sink", TRAINING_RUN),
    )
    wrong = (~trainings & (reserved | gate)) | (trainings & (~of_training | (~reserved & ~gate)))
    poll.refuse("decisions", wrong, FORGED, ".sink: found one that this agent does not decide about")
    passed = poll.words("decisions", "passed").are(poll.words("decisions", "passed").values)
    allow, none = (
        poll.is_in("decisions", "verdict", "allow"),
        poll.is_in("decisions", "verdict", UNCONFIGURED),
    )
    poll.refuse(
        "decisions",
        (allow & ~passed) | (none & passed),
        FORGED,
        ".passed: found one that contradicts the verdict",
    )


def _rejected(poll: Poll) -> None:
    content = poll.tables["rejected"]
    # A refused policy is recorded once, by the agent glasses at partition 0.
    policies = (
        poll.by("rejected", GLASSES)
        & poll.is_in("rejected", "stage", POLICIES_READ)
        & poll.is_in("rejected", "topic", POLICIES)
        & (numbers(content, "partition") == 0)
        & (poll.partition_of("rejected") == 0)
    )
    _place(poll, "rejected", content, policies)
    for agent in AGENTS:
        stages = [stage.name for stage in STAGES if stage.agent == agent]
        wrong = poll.by("rejected", agent) & ~poll.is_in("rejected", "stage", *stages) & ~policies
        poll.refuse("rejected", wrong, FORGED, ".stage: found one that this agent does not run")


def _place(poll: Poll, table: str, content: pa.Table, besides: Mask | None = None) -> None:
    for agent, topic in AGENTS.items():
        elsewhere = ~poll.is_in(table, "topic", topic) | (
            numbers(content, "partition") != poll.partition_of(table)
        )
        poll.refuse(
            table,
            poll.by(table, agent) & (elsewhere if besides is None else elsewhere & ~besides),
            FORGED,
            ": found a place that this agent does not read at this partition",
        )


def _shadow(poll: Poll) -> None:
    _runs(poll, "shadow")
    _sources(poll, "shadow", "source")


def _models(poll: Poll) -> None:
    _sources(poll, "models", "source")


def _feedback(poll: Poll) -> None:
    _sources(poll, "feedback", "source")


def _inputs(poll: Poll) -> None:
    content = poll.tables["inputs"]
    begun = (
        poll.is_in("inputs", "kind", FIRST_POLICY)
        & poll.is_in("inputs", "topic", POLICIES)
        & poll.is_in("inputs", "agent", GLASSES)
        & (numbers(content, "partition") == 0)
    )
    wrong = np.zeros(len(content), bool)
    for agent, topic in AGENTS.items():
        own = (
            poll.is_in("inputs", "agent", agent)
            & poll.is_in("inputs", "topic", topic)
            & (numbers(content, "partition") == poll.partition_of("inputs"))
            & ~poll.is_in("inputs", "kind", FIRST_POLICY)
        )
        wrong |= poll.by("inputs", agent) & ~own & ~(begun & (agent == TRAINING))
    poll.refuse("inputs", wrong, FORGED, ": found a place that this agent does not read at this partition")
    values = zip(content.column("kind").to_pylist(), content.column("value").to_pylist(), strict=True)
    odd = np.fromiter((unfit_value(kind, value) for kind, value in values), bool, len(content))
    poll.refuse("inputs", odd, MALFORMED, ".value: found a value that an input of this kind cannot have")


_CHECKS: Mapping[str, Callable[[Poll], None]] = {
    "streams": _streams,
    "events": _events,
    "edges": _edges,
    "decisions": _decisions,
    "rejected": _rejected,
    "shadow": _shadow,
    "models": _models,
    "feedback": _feedback,
    "inputs": _inputs,
}


def _policies(poll: Poll) -> None:
    """Refuse a policy whose text is no policy, or does not have its version and name."""
    if "policies" not in poll.tables:
        return

    def fits(version: str, name: str, text: str) -> bool:
        try:
            return read_stored(version, text).name == name
        except InputError:
            return False

    wrong = _fits(poll, "policies", ("version", "name", "text"), fits)
    poll.refuse("policies", wrong, FORGED, ".text: found one that is no policy, or not that of the version")


#: Columns of a table whose values must be defined in the policy of the row.
_TAGGED: Mapping[str, tuple[str, ...]] = {
    "events": ("policy_version", "zone", "label"),
    "decisions": ("policy_version", "zone", "label", "purpose", "verdict"),
    "models": ("policy_version", "zone", "label"),
    "feedback": ("policy_version", "zone", "label"),
    "rejected": ("policy_version",),
    "shadow": ("policy_version",),
    "training_runs": ("policy_version",),
}


def check_tags(poll: Poll, known: Lookup) -> None:
    """Refuse records that name an unknown policy, or a zone or label which that policy does not have."""
    texts: dict[str, str] = {}
    if "policies" in poll.tables:
        some = poll.tables["policies"]
        texts = dict(zip(some.column("version").to_pylist(), some.column("text").to_pylist(), strict=True))
    named = {
        version
        for table in _TAGGED
        if table in poll.tables
        for version in poll.words(table, "policy_version").values
    }
    if "shadow" in poll.tables:
        named |= set(poll.words("shadow", "next_version").values)
    if not named:
        return
    policies = known.policies(named, texts)
    for table, names in _TAGGED.items():
        if table not in poll.tables:
            continue
        for version in ("policy_version", "next_version") if table == "shadow" else ("policy_version",):
            unknown = ~poll.is_in(table, version, *policies)
            poll.refuse(table, unknown, FORGED, f".{version}: found a policy that no row says the text of")
        if len(names) > 1:
            wrong = _fits(poll, table, names, lambda version, *tag: _can_say(policies.get(version), *tag))
            poll.refuse(
                table, wrong, FORGED, ": found a zone, label or purpose that its policy does not have"
            )
    poll.drop()


def _can_say(policy: Policy | None, zone: str, label: str, purpose: str = "", verdict: str = "") -> bool:
    """Whether a policy has a zone, a label and a purpose; an unconfigured verdict may have any zone."""
    return (
        policy is not None
        and (zone in policy.zones_by_name or verdict == UNCONFIGURED)
        and (not purpose or purpose in policy.vocabulary.purposes)
        and (not label or _sayable(policy, bytes.fromhex(label)))
    )


def _sayable(policy: Policy, packed: bytes) -> bool:
    """Whether a label consists of words in the policy's vocabulary."""
    value, words = lattice.unpack(packed), policy.vocabulary
    return (
        all(value[name] < 1 << len(getattr(words, name)) for name in LISTS)
        and value["retention"] < len(words.retention_days)
        and value["nature"] < len(lattice.NATURES)
    )
