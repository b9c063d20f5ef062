"""`sightline policy notice`: what a policy tells those who wear the glasses, as devices show it."""

from __future__ import annotations

import click
from msgspec import to_builtins

from streams import clock
from streams.cli.extending import kinds_option
from streams.cli.output import emit_facts, emit_json, json_option
from streams.events.kinds import Kinds
from streams.policy.load import load
from streams.policy.notice import notice_of
from streams.printing import say


@click.command("notice")
@click.argument("file")
@kinds_option
@json_option
def notice(file: str, kinds: Kinds, as_json: bool) -> None:
    """Print the notice of the policy FILE (a path, or the name of one that is shipped), and its version.

    It goes to devices when the policy is in force, and again when its words are others.
    """
    policy = load(file, clock.date_today(), kinds)
    told = notice_of(policy)
    if as_json:
        emit_json({"policy": f"{policy.name} {policy.version}", **to_builtins(told)})
        return
    emit_facts(
        {
            "policy": f"{policy.name} {policy.version}",
            "controller": told.controller,
            "notice": told.version,
        }
    )
    for line in told.lines:
        say()
        say(line)
