"""Read the tables that only one file of a policy may have: owner, clock, what training runs are held to."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from streams.limits import (
    ANONYMITY_MAX,
    CLOCK_AHEAD_S_DEFAULT,
    CLOCK_AHEAD_S_MAX,
    CLOCK_OLD_DAYS_DEFAULT,
    CLOCK_OLD_DAYS_MAX,
    TRAINING_EXAMPLES_MAX,
)
from streams.policy.dpv import JURISDICTIONS
from streams.policy.policy import DAY_NS
from streams.policy.rules import AnonymityBounds, Owner, SecondOrder, TrainingAssets, TrainingBounds
from streams.policy.source import Source

_SECOND_NS = 1_000_000_000
#: Least and greatest value of the numbers of a table.
_CLOCK = {"ahead_s": (0, CLOCK_AHEAD_S_MAX), "old_days": (1, CLOCK_OLD_DAYS_MAX)}
_TRAINING = {
    **dict.fromkeys(TrainingBounds.__struct_fields__, (0, 100)),
    **dict.fromkeys(("examples_min", "examples_max"), (1, TRAINING_EXAMPLES_MAX)),
}
_ANONYMISED = {
    **dict.fromkeys(AnonymityBounds.__struct_fields__, (0, 100)),
    # In a class of one nobody is among others.
    "k_min": (2, ANONYMITY_MAX),
    "l_min": (1, ANONYMITY_MAX),
}
_OWNER = {"name": str, "contact": str, "jurisdiction": str}
_CONTACT = re.compile(r"[^\s@]+@[^\s@]+|https://\S+|\+[0-9][0-9 ()/-]+")
_ASSET_CHARACTERS_MAX = 64
_OWNER_CHARACTERS_MAX = 200
_ASSET = re.compile(rf"[A-Za-z0-9][A-Za-z0-9.+-]{{0,{_ASSET_CHARACTERS_MAX - 1}}}")


def clock_of(files: Sequence[Source]) -> tuple[int, int]:
    """How far a capture time may be after and before the append time, in ns.

    InputError if `[clock]` is wrong, or if two files have one.
    """
    values = numbers_of(files, "clock", _CLOCK)
    ahead_s = values.get("ahead_s", CLOCK_AHEAD_S_DEFAULT)
    return ahead_s * _SECOND_NS, values.get("old_days", CLOCK_OLD_DAYS_DEFAULT) * DAY_NS


def training_of(files: Sequence[Source]) -> TrainingBounds:
    """What a training run is held for; InputError if `[training]` is wrong, or if two files have one."""
    return TrainingBounds(**numbers_of(files, "training", _TRAINING))


def assets_of(files: Sequence[Source]) -> TrainingAssets:
    """What a training run may be made from; InputError if `[training_assets]` is wrong, or stands twice."""
    lists: dict[str, tuple[str, ...]] = {}
    for source, values in _once(files, "training_assets"):
        known = TrainingAssets.__struct_fields__
        source.table(values, dict.fromkeys(known, list), "the table training_assets", optional=known)
        for name, listed in values.items():
            for asset in listed:
                if not isinstance(asset, str) or _ASSET.fullmatch(asset) is None or listed.count(asset) > 1:
                    raise source.wrong(
                        str(asset),
                        f"is no name, or stands twice in {name}, expected at most "
                        f"{_ASSET_CHARACTERS_MAX} letters, digits and - . +, each once",
                        (),
                        name,
                    )
            lists[name] = tuple(listed)
    return TrainingAssets(**lists)


def owner_of(main: Source) -> Owner:
    """Who answers for the policy: a plain `owner`, or the table `[owner]`; InputError if it is wrong."""
    owner = main.fields.get("owner", "")
    if isinstance(owner, str):
        return Owner(owner)
    main.table(owner, _OWNER, "the table owner", optional=("jurisdiction",))
    name, contact, jurisdiction = (owner.get(field, "") for field in _OWNER)
    for field, text in (("name", name), ("contact", contact)):
        if not text.strip() or len(text) > _OWNER_CHARACTERS_MAX:
            raise main.wrong(
                field, f"of the table owner has {len(text)} characters, expected 1 to {_OWNER_CHARACTERS_MAX}"
            )
    if not _CONTACT.fullmatch(contact):
        raise main.wrong(
            contact,
            "is no contact, expected an address of electronic mail, https://... or a number after +",
        )
    if "jurisdiction" in owner and jurisdiction not in JURISDICTIONS:
        raise main.wrong(jurisdiction, "is no jurisdiction, expected a country by ISO 3166-1, or EU")
    return Owner(name, contact, jurisdiction)


def second_order_of(files: Sequence[Source]) -> SecondOrder:
    """What `[erasure]` says of the second order; InputError if the table is wrong, or stands twice."""
    for source, values in _once(files, "erasure"):
        source.table(values, {"second_order": str}, "the table erasure")
        chosen: SecondOrder
        for chosen in get_args(SecondOrder):
            if values["second_order"] == chosen:
                return chosen
        raise source.wrong(
            values["second_order"],
            f"is no way to treat the second order, expected {', '.join(get_args(SecondOrder))}",
            (),
            "second_order",
        )
    return "keep"


def anonymised_of(files: Sequence[Source]) -> AnonymityBounds | None:
    """What an anonymised export has to hold to; None if no file has `[anonymised]`, which permits none.

    InputError if the table is wrong, lacks a bound, or stands twice.
    """
    values = numbers_of(files, "anonymised", _ANONYMISED, optional=())
    return AnonymityBounds(**values) if values else None


def numbers_of(
    files: Sequence[Source],
    table: str,
    known: Mapping[str, tuple[int, int]],
    optional: Collection[str] | None = None,
) -> Mapping[str, int]:
    """Numbers of a table that only one file may have; `known` has the least and the greatest of each.

    InputError if one is wrong, if two files have the table, or if one is missing that is not `optional`;
    all are unless that is given.
    """
    values: Mapping[str, int] = {}
    for source, values in _once(files, table):
        needless = known if optional is None else optional
        source.table(values, dict.fromkeys(known, int), f"the table {table}", optional=needless)
        for name, value in values.items():
            least, most = known[name]
            if not least <= value <= most:
                raise source.wrong(name, f"is {value}, expected {least} to {most}")
    return values


def _once(files: Sequence[Source], table: str) -> list[tuple[Source, Mapping[str, Any]]]:
    """The table of that name with its file, none if no file has it; InputError if two files have it."""
    declaring = [source for source in files if table in source.fields]
    if len(declaring) > 1:
        raise declaring[-1].wrong(
            f"[{table}]", f"stands in {declaring[0].origin} too, expected it in one of the files of a policy"
        )
    return [(source, source.fields[table]) for source in declaring]
