"""Examples in a policy file (`[[tests]]`), which test the policy.

Each has the attributes of an event, the zone that it must be in, and the verdicts that it must get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct

from streams.consent.words import CLAIMED, Consent
from streams.policy.attributes import Attributes
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.rules import Example, Sink
from streams.policy.source import Source
from streams.policy.step import Verdict

VERDICTS: tuple[str, ...] = get_args(Verdict)
#: Values of attributes that an example leaves out.
_OTHERWISE: Mapping[str, Any] = {
    "place": "home",
    "people_near": "nobody",
    "minor_near": False,
    "capture_light": False,
    "worn": True,
}


class ExampleOutcome(Struct, frozen=True):
    """Result of one example; each difference is (subject, expected value, actual value).

    A subject is `zone` or the name of a sink.
    """

    example: Example
    differences: tuple[tuple[str, str, str], ...]


def examples_of(
    tables: Sequence[tuple[Source, Mapping[str, Any]]],
    zones: Collection[str],
    sinks: Mapping[str, Sink],
    domains: Mapping[str, Sequence[Any]],
) -> tuple[Example, ...]:
    """Read the `[[tests]]` of a policy; InputError if one names something that does not exist."""
    before: Counter[str] = Counter()
    examples = []
    for source, fields in tables:
        examples.append(_example(source, fields, before[source.origin], zones, sinks, domains))
        before[source.origin] += 1
    return tuple(examples)


def _example(
    source: Source,
    fields: Mapping[str, Any],
    number: int,
    zones: Collection[str],
    sinks: Mapping[str, Sink],
    domains: Mapping[str, Sequence[Any]],
) -> Example:
    """Read the example `number`, from 0, of its file."""
    source.table(
        fields,
        {"event": dict, "zone": str, "consent": str, **dict.fromkeys(VERDICTS, list)},
        f"test {number + 1}",
        optional=("consent", *VERDICTS),
    )
    event, line = fields["event"], source.nth_line("[[tests]]", number)
    source.check(
        event,
        [name for name in domains if name != "consent_given"],
        "is not an attribute that an example may give",
    )
    for name, value in event.items():
        if name != "stream" and value not in domains[name]:
            fault = (
                "is not a captured kind that this policy labels, and only those can be in an example"
                if name == "kind"
                else f"is not a value that {name} can have"
            )
            raise source.wrong(str(value), fault, list(map(str, domains[name])), behind=line)
    if "kind" not in event:
        raise source.wrong("event", f"of test {number + 1} lacks its kind", behind=line)
    source.check([fields["zone"]], [*zones, UNCONFIGURED], "is not a zone")
    verdicts = {sink: verdict for verdict in VERDICTS for sink in fields.get(verdict, ())}
    source.check(verdicts, sinks, "is not a sink that this policy declares")
    try:
        consent = Consent.parse(fields.get("consent", CLAIMED))
    except ValueError as error:
        raise source.wrong(fields["consent"], str(error)) from None
    attributes = {"stream": event["kind"].replace("_", "-"), **_OTHERWISE, **event}
    return Example(attributes, consent.text(), fields["zone"], verdicts, line)


def run(policy: Policy) -> list[ExampleOutcome]:
    """Decide all examples of a policy; an example without differences agrees with the file."""
    return [_run(policy, example) for example in policy.examples]


def _run(policy: Policy, example: Example) -> ExampleOutcome:
    consent = Consent.parse(example.consent)
    tag = policy.tag(Attributes(**example.attributes, consent_given=consent.given))
    compared = [("zone", example.zone, tag.zone)]
    for sink, verdict in example.verdicts.items():
        unconfigured = tag.zone == UNCONFIGURED or not tag.label
        compared.append(
            (
                sink,
                verdict,
                UNCONFIGURED if unconfigured else policy.flow(tag.zone, tag.label, sink, consent).verdict,
            )
        )
    return ExampleOutcome(example, tuple(row for row in compared if row[1] != row[2]))
