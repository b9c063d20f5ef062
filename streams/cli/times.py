"""In which time zone people are shown times; what is stored, and `--json`, is UTC."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

import click
from click.core import ParameterSource

from streams import settings

UTC = "UTC"
_IN_UTC = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def _time_zone(context: click.Context, parameter: click.Parameter, name: str) -> tzinfo | None:
    """The time zone of a name; None for UTC, in which times are already."""
    if name == UTC:
        return None
    # Only who wants another one waits for the list of them.
    from difflib import get_close_matches  # noqa: PLC0415
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415

    names = available_timezones()
    if name in names:
        return ZoneInfo(name)
    if not names:
        raise click.BadParameter("this system has no list of time zones; `pip install tzdata` brings one")
    given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    place = "" if given else f"{settings.said_by('time_zone')}: "
    lower = {known.lower(): known for known in names}
    nearest = lower[get_close_matches(name.lower(), lower, 1, cutoff=0.0)[0]]
    raise click.BadParameter(f"{place}there is no time zone {name!a}; the nearest is {nearest}")


time_zone_option = click.option(
    "--time-zone",
    metavar="NAME",
    default=settings.TIME_ZONE,
    callback=_time_zone,
    show_default=True,
    help="Time zone of times in tables and texts, such as Europe/Zurich; JSON and CSV are UTC.",
)


def _asked_for() -> tzinfo | None:
    context = click.get_current_context(silent=True)
    return None if context is None else context.find_root().params.get("time_zone")


def local(value: object) -> object:
    """A value as people are shown it: each time that says that it is UTC in the time zone of the command.

    A time without a zone, as SQL can make it, stays what it is.
    """
    time_zone = _asked_for()
    if time_zone is None:
        return value
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(time_zone)
    if isinstance(value, str):
        return _IN_UTC.sub(lambda match: _seconds(match[0], time_zone), value)
    return value


def _seconds(text: str, time_zone: tzinfo) -> str:
    return datetime.fromisoformat(text).astimezone(time_zone).isoformat(timespec="seconds")
