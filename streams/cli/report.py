"""`sightline report`: what ran, and whether anything was where it should not be, in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.asking import Form, asked, asking, say_answer
from streams.cli.inventory import packages_option
from streams.cli.output import Stores, emit_hidden, emit_left_out, role_option, store_option
from streams.cli.paper import print_to_pdf
from streams.cli.requirement import policy_option
from streams.errors import InputError
from streams.extras import require
from streams.limits import TIME_NS_MAX
from streams.moving import moving
from streams.policy.load import load
from streams.printing import say
from streams.queries.declared import System
from streams.queries.notice import notice
from streams.queries.role import Role
from streams.queries.ropa import Activity, Ropa, ropa, transfers
from streams.queries.store import Store

if TYPE_CHECKING:
    from streams.page.report.reporting import Counted

_UNITS_S = {"min": 60, "h": 3_600, "d": 86_400}
_LENGTH = re.compile(rf"([1-9][0-9]{{0,5}}) ?({'|'.join(_UNITS_S)})")


def _length(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, int]:
    """A length of time as `24h`: in words, and in nanoseconds."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise InputError(
            f"--last: found {text!r}, expected a number of minutes, hours or days, such as 90min, 24h or 7d"
        )
    return f"{match[1]} {match[2]}", min(int(match[1]) * _UNITS_S[match[2]] * 10**9, TIME_NS_MAX)


@click.group("report", invoke_without_command=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write: report.html, or report.pdf, which needs a Chromium on this machine.",
)
@store_option
@role_option
@click.option(
    "--as-of",
    default="",
    metavar="TIME|EPOCH",
    help="As the store was then, under today's roles; the newest epoch if left out.",
)
@click.option(
    "--last",
    callback=_length,
    default="24h",
    show_default=True,
    metavar="LENGTH",
    help="How much of the time before the latest decision has a section of its own: 90min, 24h, 7d.",
)
@click.option(
    "--journal",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    help="The devices' journals, a file or a directory, to compare with the store as `ledger` does.",
)
@click.option("--force", is_flag=True, help="Replace a file of this name.")
@click.pass_context
def command(
    context: click.Context,
    out: Path | None,
    store: Path,
    role: Role,
    as_of: str,
    last: tuple[str, int],
    journal: Path | None,
    *,
    force: bool,
) -> None:
    """Write a report of a store into one FILE that needs nothing beside it, or print one of its own kind.

    FILE opens without server, network or script. It says whether anything was where it should not be, what
    ran, crossed, was refused and why, the loop by generation, how far wearers' data reached, how requirements
    stand, and whether the record is whole. It holds what the policies let the role take out (the sink
    `export`), and is on record.
    """
    if context.invoked_subcommand is not None:
        if out is not None:
            raise InputError(
                f"--out: found it beside {context.invoked_subcommand}, which prints; leave it out"
            )
        return
    if out is None:
        raise InputError("report: found no --out, expected a file to write; or ask ropa, transfers or notice")
    require("page")
    if out.suffix not in (".html", ".pdf"):
        raise InputError(f"{out}: found the ending {out.suffix!r}, expected .html or .pdf")
    # Only this command and `page` need templates.
    from streams.page.report.writing import Wanted, write_report  # noqa: PLC0415

    printed = print_to_pdf(out) if out.suffix == ".pdf" else bytes
    with moving("opening the store") as show:
        wanted = Wanted(as_of=as_of, last=last[0], last_ns=last[1], counted=_counted(journal, store, as_of))
        written = write_report(store, role, out, wanted, replacing=force, printed=printed, show=show)
    emit_left_out(written.left_out)
    emit_hidden(str(role), written.hidden)
    say(
        f"{out}: a report of epoch {written.epoch:,} for {role}, {written.bytes / 1e6:.1f} MB; "
        + (
            f"it has to say: {'; '.join(written.wrong)}"
            if written.wrong
            else "nothing was wrong in what it may take out"
        )
    )


def _counted(journal: Path | None, store: Path, as_of: str) -> Counted | None:
    """Compare journals with the store, if there are any."""
    if journal is None:
        return None
    if as_of:
        raise InputError("--journal: found it beside --as-of, expected one of them: the ledger checks now")
    # The ledger needs NumPy, which a report without it does not wait for.
    from streams.ledger import run_ledger  # noqa: PLC0415
    from streams.page.report.reporting import Counted  # noqa: PLC0415

    result = run_ledger(journal, None, store)
    return Counted(
        findings=len(result["findings"]),
        sent=result["events_sent"],
        stored=result["events_stored"],
        rejected=result["events_rejected"],
        missing=result["events_missing"],
        twice=result["events_twice"],
        elsewhere=result["zone_truth_mismatches"],
        unknown_parents=result["orphan_parents"],
    )


_ROPA: dict[str, Sequence[str]] = {
    "activities": (
        "activity",
        "standing",
        "purpose",
        "sensitivity",
        "region",
        "retention_days",
        "events",
        "stopped",
        "latest",
    ),
    "undeclared": ("of", "how", "to", "by", "zones", "events", "reason"),
}
_TRANSFERS: dict[str, Sequence[str]] = {
    "regions": ("region", "recipients", "events", "subjects", "sensitivity"),
    "transfers": ("region", "recipient", "standing", "purpose", "run_by", "events", "subjects", "latest"),
}
_NOTICE: dict[str, Sequence[str]] = {
    "says": ("data", "used_for", "about", "days", "where"),
    "changes": ("policy", "since", "change", "text"),
}


@command.command("ropa")
@click.argument("activity", default="")
@policy_option
@packages_option
@asking()
def records(
    activity: str, policy: str, packages: tuple[str, ...], stores: Stores, role: Role, form: Form
) -> None:
    """Print the records of processing activities (GDPR, Article 30): declared beside observed.

    An activity is what goes into one sink of the policy. ACTIVITY names one, to see its whole record:
    purpose and its term in DPV, data subjects, categories, region and retention, as declared and as observed.
    """
    system = System.extended(packages)
    draft = load(policy, kinds=system.kinds) if policy else None

    def question(opened: Store) -> Ropa | Activity:
        every = ropa(opened, draft, system)
        return every if not activity else every.activity(activity)

    say_answer(asked(stores, role, question, group="report "), form, _ROPA)


@command.command("transfers")
@policy_option
@packages_option
@asking()
def recipients(policy: str, packages: tuple[str, ...], stores: Stores, role: Role, form: Form) -> None:
    """Print where data went, by region and recipient; and where nothing went, what may go there."""
    system = System.extended(packages)
    draft = load(policy, kinds=system.kinds) if policy else None
    shown = asked(stores, role, lambda opened: transfers(opened, draft, system), group="report ")
    say_answer(shown, form, _TRANSFERS)


@command.command("notice")
@policy_option
@asking()
def told(policy: str, stores: Stores, role: Role, form: Form) -> None:
    """Print a notice for those who wear the glasses, from what was observed, in plain words.

    A line for each category of data and purpose, and what each policy changed. With --policy it is what the
    same events would be used for under that policy, so that the change is known before it is published.
    """
    draft = load(policy) if policy else None
    shown = asked(stores, role, lambda opened: notice(opened, draft), group="report ")
    say_answer(shown, form, _NOTICE)
