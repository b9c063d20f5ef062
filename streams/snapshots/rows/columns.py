"""The values that each column of a lineage table may have: type, range, pattern or list."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import get_args

import pyarrow.compute as pc

from streams.consent.record import consents_of
from streams.consent.words import Consent
from streams.errors import MalformedError
from streams.events.identity import NAME_CHARACTERS_MAX
from streams.limits import (
    ATTRIBUTE_COMBINATIONS_MAX,
    EVENTS_PER_BATCH_MAX,
    EVENTS_PER_FETCH_MAX,
    LABEL_BYTES,
    NAMES_KNOWN_MAX,
    NUMBER_MAX,
    PARENTS_PER_CHILD_MAX,
    REVISION_MAX,
    TIME_NS_MAX,
)
from streams.lineage.tables import (
    CONSENT_TAKEUP,
    EXAMPLE_ORDER,
    FIRST_POLICY,
    LOST_RECORDS,
    LOST_STATE,
    MODEL_CANDIDATE,
    MODEL_ROLLBACK,
    MODEL_TAKEUP,
    NO_EXAMPLE,
    POLICY_TAKEUP,
    TABLES,
)
from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.rules import AssetKind, CheckName, CheckOutcome, RunOutcome
from streams.policy.step import NOT_ASKED, FeedbackForm, FeedbackMeaning, RejectOutcome
from streams.snapshots.rows.allowed import Between, Checked, Flag, Form, KindName, OneOf, Rule, Text
from streams.snapshots.rows.poll import Mask, Poll
from streams.topology import (
    AGENTS,
    CROSSINGS,
    POLICIES,
    POLICIES_READ,
    STAGES,
    TOPICS,
)


@lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)
def _attributes(text: str) -> bool:
    """Whether a text is empty or has every attribute once, each with an allowed value."""
    if not text:
        return True
    try:
        attributes = Attributes.parse(text)
    except ValueError:
        return False
    return all(
        value in DOMAINS[name]
        for name, value in attributes._asdict().items()
        if name not in {"kind", "stream"}
    ) and bool(text.isascii())


@lru_cache(maxsize=ATTRIBUTE_COMBINATIONS_MAX)
def _consent(text: str) -> bool:
    try:
        return not text or Consent.parse(text).text() == text
    except ValueError:
        return False


_NAME = rf"[a-z0-9][a-z0-9-]{{0,{NAME_CHARACTERS_MAX - 1}}}"
_STREAM = rf"{_NAME}(~([2-9]|[1-9][0-9]{{1,5}}))?"
_ID = rf"{_NAME}/{_STREAM}/(0|[1-9][0-9]{{0,18}})(\.[1-9][0-9]{{0,{len(str(REVISION_MAX)) - 1}}})?"
_NUMBER, _TIME, _FLAG = Between(0, NUMBER_MAX), Between(0, TIME_NS_MAX), Flag()
_REVISION = Between(0, REVISION_MAX)
_STEP, _COUNT = Between(1, NUMBER_MAX), Between(1, EVENTS_PER_FETCH_MAX)
_SOURCE, _OF, _WEARER = Form(_NAME), Form(_STREAM), Form(f"({_NAME})?")
_LABEL, _ANY_LABEL = Form(f"[0-9a-f]{{{2 * LABEL_BYTES}}}"), Form(f"([0-9a-f]{{{2 * LABEL_BYTES}}})?")
_VERSION, _DIGEST, _ANY_DIGEST = Form("[0-9a-f]{16}"), Form("[0-9a-f]{32}"), Form("([0-9a-f]{32})?")
_TEXT, _BYTES, _SINK = Text(), Between(0, 2**31), OneOf(CROSSINGS)
_VERDICT = ("allow", "deny", "unconfigured")
_TOPIC = OneOf(tuple(topic.name for topic in TOPICS))
_RUN: Mapping[str, Rule] = {
    "source": _SOURCE,
    "stream": _OF,
    "first": _NUMBER,
    "step": _STEP,
    "count": _COUNT,
}
_TAG: Mapping[str, Rule] = {"zone": _TEXT, "rule": _TEXT, "policy_version": _VERSION}

#: Columns in which texts are long or nearly all distinct.
MANY = frozenset({"digest", "split_from", "manifest_digest", "value", "text"})
RULES: Mapping[str, Mapping[str, Rule]] = {
    "streams": {"source": _SOURCE, "stream": _OF, "kind": KindName(), "captured": _FLAG},
    "events": {
        **_RUN,
        **_TAG,
        "revision": _REVISION,
        "count": Between(1, EVENTS_PER_BATCH_MAX),
        "kind": KindName(),
        "label": _LABEL,
        "wearer": _WEARER,
        "consent": _NUMBER,
        "session": _WEARER,
        "t_first_ns": _TIME,
        "t_last_ns": _TIME,
        "appended_ns": _TIME,
        "topic": OneOf(("", *_TOPIC.words)),
        "partition": _NUMBER,
        "offset": _NUMBER,
        "bytes": _BYTES,
        "digest": _DIGEST,
        "split_from": _ANY_DIGEST,
        "origin": _TEXT,
    },
    "edges": {
        "child_source": _SOURCE,
        "child_stream": _OF,
        "child_revision": _REVISION,
        "child_first": _NUMBER,
        "child_step": _STEP,
        "child_count": _COUNT,
        "parent_source": _SOURCE,
        "parent_stream": _OF,
        "parent_revision": _REVISION,
        "parent_first": _NUMBER,
        "parent_step": _NUMBER,
        "parent_width": Between(1, PARENTS_PER_CHILD_MAX),
        "operator": KindName(making=True),
        "operator_version": _NUMBER,
        "directness": OneOf(("direct", "indirect")),
        "declassifier": _TEXT,
    },
    "decisions": {
        **_RUN,
        **_TAG,
        "t_ns": _TIME,
        "sink": _SINK,
        "purpose": _TEXT,
        "verdict": OneOf(_VERDICT),
        "passed": _FLAG,
        "mode": OneOf(("enforcing", "logging")),
        "label": _ANY_LABEL,
        "attributes": Checked(_attributes),
        "consent": _NUMBER,
        "consent_state": Checked(_consent),
        "wearer": _WEARER,
        "appended_ns": _TIME,
        "at_ns": _TIME,
    },
    "rejected": {
        "source": _WEARER,
        "stream": Form(f"({_STREAM})?"),
        "first": _NUMBER,
        "count": Between(0, EVENTS_PER_BATCH_MAX),
        "stage": OneOf((*(stage.name for stage in STAGES if stage.agent), POLICIES_READ)),
        "reason": _TEXT,
        "rule": _TEXT,
        "outcome": OneOf(get_args(RejectOutcome)),
        "zone": _TEXT,
        "policy_version": _VERSION,
        "topic": _TOPIC,
        "partition": _NUMBER,
        "offset": _NUMBER,
        "bytes": _BYTES,
        "digest": _ANY_DIGEST,
        "t_ns": _TIME,
        "wearer": _WEARER,
        "appended_ns": _TIME,
    },
    "shadow": {
        **_RUN,
        **_TAG,
        "t_ns": _TIME,
        "sink": _SINK,
        "verdict": OneOf((*_VERDICT, NOT_ASKED)),
        "next_version": _VERSION,
        "next_zone": _TEXT,
        "next_verdict": OneOf((*_VERDICT, NOT_ASKED)),
        "next_rule": _TEXT,
    },
    "feedback": {
        "source": _SOURCE,
        "stream": _OF,
        "first": _NUMBER,
        "answer_stream": _OF,
        "answer": _NUMBER,
        "version": _NUMBER,
        "form": OneOf(get_args(FeedbackForm)),
        "meaning": OneOf(get_args(FeedbackMeaning)),
        "candidate": _NUMBER,
        "candidate_meaning": OneOf(("", *get_args(FeedbackMeaning))),
        "zone": _TEXT,
        "label": _LABEL,
        "policy_version": _VERSION,
        "wearer": _WEARER,
        "t_ns": _TIME,
    },
    "models": {
        "source": _SOURCE,
        "stream": _OF,
        "version": _NUMBER,
        "digest": _DIGEST,
        "zone": _TEXT,
        "label": _LABEL,
        "policy_version": _VERSION,
        "examples": _NUMBER,
        "wearers": _NUMBER,
        "accuracy": Between(0, 1),
        "trained_ns": _TIME,
        "retrain_by_ns": Between(0, 2**63 - 1),
        "bytes": _BYTES,
    },
    "training_runs": {
        "version": _NUMBER,
        "policy_version": _VERSION,
        "seed_examples": _NUMBER,
        "admitted": _NUMBER,
        "refused": _NUMBER,
        "manifest_digest": _DIGEST,
        "evaluation_examples": _NUMBER,
        "accuracy": Between(0, 1),
        "trigger": Form(f"seed|{_ID}"),
        "t_ns": _TIME,
    },
    "promotions": {
        "version": _NUMBER,
        "outcome": OneOf(("promoted", "declined", "rolled-back")),
        "against": _NUMBER,
        "reason": _TEXT,
        "split_seed": _NUMBER,
        "kept_validation": _NUMBER,
        "kept_test": _NUMBER,
        "compared": _NUMBER,
        "validation_digest": _ANY_DIGEST,
        "better": _NUMBER,
        "worse": _NUMBER,
        "p_value": Between(0, 1),
        "t_ns": _TIME,
    },
    "training_checks": {
        "version": _NUMBER,
        "name": OneOf(get_args(CheckName)),
        "subject": _TEXT,
        "outcome": OneOf(get_args(CheckOutcome)),
        "examples": _NUMBER,
        "judged": _NUMBER,
        "percent_max": Between(0, 100),
        "t_ns": _TIME,
    },
    "training_assets": {
        "version": _NUMBER,
        "outcome": OneOf(get_args(RunOutcome)),
        "kind": OneOf(get_args(AssetKind)),
        "name": _TEXT,
        "licence": _TEXT,
        "digest": _ANY_DIGEST,
        "examples": _NUMBER,
        "rule": _TEXT,
        "t_ns": _TIME,
    },
    "inputs": {
        "kind": OneOf(
            (
                FIRST_POLICY,
                MODEL_TAKEUP,
                MODEL_CANDIDATE,
                MODEL_ROLLBACK,
                POLICY_TAKEUP,
                CONSENT_TAKEUP,
                EXAMPLE_ORDER,
                LOST_RECORDS,
                LOST_STATE,
            )
        ),
        "agent": OneOf(tuple(AGENTS)),
        "topic": OneOf((*AGENTS.values(), POLICIES)),
        "partition": _NUMBER,
        "offset": _NUMBER,
        "value": Text(NUMBER_MAX),
        "t_ns": _TIME,
    },
    "policies": {
        "version": _VERSION,
        "name": _TEXT,
        "text": Text(NUMBER_MAX),
        "published_ns": _TIME,
    },
}
if {table: set(rules) for table, rules in RULES.items()} != {
    table: set(some) for table, some in TABLES.items()
}:
    raise AssertionError("every column of every table has a rule")
_VERSIONS = r"\[[1-9][0-9]{0,18},[1-9][0-9]{0,18}\]"
_VALUES: Mapping[str, str] = {
    FIRST_POLICY: "[0-9a-f]{16}",
    POLICY_TAKEUP: "[0-9a-f]{16}",
    MODEL_TAKEUP: "0|[1-9][0-9]{0,18}",
    MODEL_CANDIDATE: "0|[1-9][0-9]{0,18}",
    MODEL_ROLLBACK: (
        r'\{"version":[1-9][0-9]{0,18},"before":(0|[1-9][0-9]{0,18}),"why":"([^"\\]|\\.)+",'
        r'"at_ns":[1-9][0-9]{0,18}(,"superseded":true)?(,"erasure":true)?'
        rf'(,"withdrawn":\[{_VERSIONS}(,{_VERSIONS})*\])?\}}'
    ),
    LOST_RECORDS: "(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})?",
    LOST_STATE: "(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})",
    EXAMPLE_ORDER: f"({NO_EXAMPLE}|{_ID})( ({NO_EXAMPLE}|{_ID}))*",
}


def unfit(poll: Poll, table: str, name: str) -> Mask | None:
    """Rows whose value the column must not have; None if there are none. No value may be missing."""
    column, rule = poll.tables[table].column(name), RULES[table][name]
    match rule:
        case Between(low, high):
            values = column.to_numpy()
            if not len(values) or (low <= values.min() and values.max() <= high):
                return None
            outside: Mask = ~((values >= low) & (values <= high))
            return outside
        case Text(bytes_max) if name in MANY:
            outside = pc.greater(pc.binary_length(column), bytes_max).to_numpy()
            return outside if outside.any() else None
        case Form(pattern) if name in MANY:
            outside = ~pc.match_substring_regex(column, f"^(?:{pattern})$").to_numpy()
            return outside if outside.any() else None
        case Flag():
            return None
        case _:
            words = poll.words(table, name)
            fits = _fits(rule.words(poll.kinds) if isinstance(rule, KindName) else rule)
            fitting = [fits(value) for value in words.values]
            return None if all(fitting) else ~words.are(fitting)


def is_kind(table: str, name: str) -> bool:
    """Whether a column names a kind, or what made an event."""
    return isinstance(RULES[table][name], KindName)


def _fits(rule: Form | OneOf | Text | Checked) -> Callable[[str], bool]:
    """A function that tells whether a rule accepts a text."""
    match rule:
        case Form(pattern):
            return partial(_matches, pattern)
        case OneOf(words):
            return words.__contains__
        case Text(bytes_max):
            return lambda text: len(text.encode()) <= bytes_max
        case Checked(fits):
            return fits


@lru_cache(maxsize=NAMES_KNOWN_MAX)
def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def unfit_value(kind: str, value: str) -> bool:
    """Whether a value is invalid for a kind of recorded input."""
    if kind == CONSENT_TAKEUP:
        try:
            consents_of(value)
        except MalformedError:
            return True
        return False
    return re.fullmatch(_VALUES[kind], value) is None
