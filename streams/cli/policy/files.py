"""`sightline policy check`, `show` and `test`.

They tell what a policy file says, and whether it does what its own examples say.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from streams import clock
from streams.cli.output import emit_facts, emit_json, emit_table, json_option
from streams.events.shipped import SHIPPED
from streams.policy import examples
from streams.policy.analysis import in_words
from streams.policy.diff import every_combination
from streams.policy.load import load
from streams.policy.policy import UNCONFIGURED, Policy
from streams.policy.rules import Sink
from streams.policy.vocabulary import Vocabulary
from streams.printing import say, say_exactly
from streams.topology import CROSSINGS

UNTAKEN_SHOWN = 5


@click.command("check")
@click.argument("file")
@json_option
def check(file: str, as_json: bool) -> None:
    """Read the policy FILE (a path, or the name of one that is shipped) and say what it declares."""
    answer = _checked(load(file, clock.date_today()))
    if as_json:
        emit_json(answer)
        return
    tables = ("zones", "sinks", "requirements", "declassifiers", "untaken")
    emit_facts({name: value for name, value in answer.items() if name not in tables})
    for name in tables:
        if answer[name]:
            title = "no zone takes, so refused (some)" if name == "untaken" else name
            say()
            say(title)
            emit_table(list(answer[name][0]), [list(row.values()) for row in answer[name]])


def _checked(policy: Policy) -> dict[str, Any]:
    taken = dict.fromkeys([*(zone.name for zone in policy.zones), UNCONFIGURED], 0)
    untaken: list[dict[str, Any]] = []
    for attributes in every_combination():
        zone = policy.tag(attributes).zone
        taken[zone] += 1
        if zone == UNCONFIGURED and attributes.consent_given and len(untaken) < UNTAKEN_SHOWN:
            untaken.append({name: value for name, value in attributes._asdict().items() if name != "stream"})
    today = clock.date_today()
    return {
        "policy": policy.name,
        "version": policy.version,
        "combinations of attributes": sum(taken.values()),
        "of them unconfigured": taken[UNCONFIGURED],
        "crossings with a sink": f"{sum(one in policy.sinks for one in CROSSINGS)} of {len(CROSSINGS)}",
        "examples": len(policy.examples),
        "kinds that it does not name, so refused": ", ".join(policy.unnamed(SHIPPED)) or "none",
        "zones": [
            {
                "rank": zone.rank,
                "zone": zone.name,
                "mode": zone.mode,
                "takes": taken[zone.name],
                "keeps": zone.retention,
                "consent": "not needed" if zone.without_consent else "needed",
                "reads": "recorded" if zone.restricted else "",
                "when": zone.condition.text,
            }
            for zone in policy.zones
        ],
        "sinks": [_sink(policy.vocabulary, sink) for sink in policy.sinks.values()],
        "requirements": [
            {
                "requirement": one.name,
                "when": one.when.text if one.when else "always",
                "require": one.require.text,
                "about": one.about,
            }
            for one in policy.requirements
        ],
        "declassifiers": [
            {
                "declassifier": one.name,
                "owner": one.owner,
                "sets": one.retention,
                "wearers": one.wearers_min,
                "review by": one.review_by.isoformat(),
                "days left": (one.review_by - today).days,
                "overdue": one.review(today) if one.overdue(today) else "",
                "when overdue": one.when_overdue,
            }
            for one in policy.declassifiers.values()
        ],
        "untaken": untaken,
    }


def _sink(vocabulary: Vocabulary, sink: Sink) -> dict[str, Any]:
    """A sink as `check` shows it: what it may receive, or what it may not where that is shorter to say."""
    words = vocabulary.words
    but_not = vocabulary.mask("categories", vocabulary.categories) & ~sink.receives
    few = but_not.bit_count() < sink.receives.bit_count()
    return {
        "sink": sink.name,
        "purpose": sink.purpose,
        "region": sink.region,
        "risk": sink.risk,
        "run by": sink.run_by,
        "trained on": sink.trained_on,
        "subjects": words("subjects", sink.subjects),
        "honours": words("obligations", sink.honours),
        "receives": "everything" if few else words("categories", sink.receives),
        "but not": words("categories", but_not) if few else (),
    }


@click.command("show")
@click.argument("file")
@json_option
def show(file: str, as_json: bool) -> None:
    """Print the policy FILE (a path, or the name of one that is shipped) whole, with all that it imports.

    `sightline policy show household > mine.toml` makes a policy of your own to change: the version of what is
    printed is that of FILE, which is the SHA-256 of the text, the first 16 digits.
    """
    policy = load(file)
    if as_json:
        emit_json({"policy": policy.name, "version": policy.version, "text": policy.text})
    else:
        say_exactly(policy.text)


@click.command("test")
@click.argument("file")
@json_option
def test(file: str, as_json: bool) -> None:
    """Decide the examples that the policy FILE gives of itself; exit code 1 if one comes out otherwise."""
    policy = load(file, clock.date_today())
    outcomes = examples.run(policy)
    differences = [
        {
            "line": outcome.example.line,
            "event": in_words(outcome.example.attributes),
            "about": about,
            "expected": expected,
            "found": found,
        }
        for outcome in outcomes
        for about, expected, found in outcome.differences
    ]
    if as_json:
        emit_json(
            {
                "policy": policy.name,
                "version": policy.version,
                "examples": len(outcomes),
                "differences": differences,
            }
        )
    else:
        begin = f"{policy.name} {policy.version}: {len(outcomes)} examples, "
        say(
            begin
            + (
                "each comes out as the file says"
                if not differences
                else f"{len(differences)} verdicts come out otherwise"
            )
        )
        if differences:
            emit_table(list(differences[0]), [list(row.values()) for row in differences])
    sys.exit(1 if differences else 0)
