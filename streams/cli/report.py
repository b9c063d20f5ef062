"""`sightline report`: what ran, and whether anything was where it should not be, in one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.cli.output import emit_hidden, emit_left_out, role_option, store_option
from streams.cli.paper import print_to_pdf
from streams.errors import InputError
from streams.extras import require
from streams.limits import TIME_NS_MAX
from streams.moving import moving
from streams.printing import say
from streams.queries.role import Role

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


@click.command("report")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
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
def command(
    out: Path,
    store: Path,
    role: Role,
    as_of: str,
    last: tuple[str, int],
    journal: Path | None,
    *,
    force: bool,
) -> None:
    """Write a report of a store into one FILE that needs nothing beside it: no server, network or script.

    It says whether anything was where it should not be, what ran, crossed, was refused and why, the loop by
    generation, how far wearers' data reached, how requirements stand, and whether the record is whole. It
    holds what the policies let the role take out (the sink `export`), and is on record.
    """
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
