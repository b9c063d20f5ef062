"""Anonymised exports: what wearers told their glasses at which kind of place and when, under tokens.

The file has a row of each wearer, place and period of time. It names no wearer, source, stream, session,
number, offset or digest, and no count, which would be a fingerprint. A wearer has a random token in place of
a name, the same in all rows of one file and another in the next; nothing that could make it again is kept.
Rows are made coarser, and left out, until they hold to the policy's `[anonymised]`, or nothing is written.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow
import xxhash
from msgspec import to_builtins

from streams import files, limits
from streams.errors import InputError
from streams.policy.label import NATURES
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.policy.rules import AnonymityBounds
from streams.queries.anonymity import LEVELS, Measures, Microdata, Period, Places, Unique
from streams.queries.answers import Answer
from streams.queries.inventory import newest_policy
from streams.queries.store import Store
from streams.topology import ZONED

ANONYMISED = "anonymised"
#: Forms of the file, by the end of its name.
FORMS = (".parquet", ".csv")
_RECEIPT = ".receipt.json"
_TOKEN_BYTES = 16
_QUASI_IDENTIFIERS, _SENSITIVE = ("place", "period"), "told"
_MEASURED_AS = {
    "k": "wearers of the smallest class of equal place and period (Sweeney 2002)",
    "l": "distinct values of told in a class, at least; by entropy, exp of it (Machanavajjhala et al. 2007)",
    "t": "half the sum of differences between shares of told in a class and in all rows, at most: the earth "
    "mover's distance of values without an order (Li et al. 2007)",
    "unique": "wearers of whom one of their points (place and period), four drawn ones, or all, are no other "
    "wearer's together (de Montjoye et al. 2013)",
}


class AnonymisedExport(Answer, frozen=True, kw_only=True):
    """The receipt of an anonymised export: what is in the file, and how far it is anonymous.

    `place` and `period` are how coarse these were made. `suppressed` rows were left out for the bounds, and
    with them all of `wearers_suppressed` wearers. `unique_before` is of the same rows by the hour, before
    anything was left out, `unique_after` of the file. `sha256` is the digest of the file.
    """

    file: str
    sha256: str
    bytes: int
    epoch: int
    policy: str
    bounds: AnonymityBounds
    quasi_identifiers: tuple[str, ...]
    sensitive: str
    place: Places
    period: Period
    rows: int
    wearers: int
    classes: int
    k: int
    l_distinct: int
    l_entropy: float
    t: float
    suppressed: int
    wearers_suppressed: int
    unique_before: Unique
    unique_after: Unique
    measured_as: dict[str, str]


class _Made(NamedTuple):
    """Rows that hold to the bounds, at the finest level at which they do."""

    rows: pyarrow.Table
    place: Places
    period: Period
    measures: Measures
    suppressed: int
    before: Unique
    after: Unique


def write_anonymised(
    store: Store, path: Path, question: str, show: Callable[[str], None]
) -> AnonymisedExport:
    """Write an anonymised export of what the store's role may take out, and its receipt beside it.

    Both are new files that their owner alone can read, as Parquet or CSV by the end of the name. They bear
    their names when they are whole and `question` is on record; a refused export is on record, too.

    Raises
    ------
    InputError
        The store was not opened for a role that exports; a name is taken or has another end; the policy in
        force permits no anonymised export; what the role may take out does not hold to its bounds; or it is
        more than ANONYMISED_ROWS_MAX rows.
    UnavailableError
        The read cannot be recorded, it needs too much memory, or files of the epoch are gone.
    """
    if store.role_filter is None or not store.role_filter.role.exporting:
        raise InputError(f"{path}: found a store that was opened without a role that exports, expected one")
    if path.suffix not in FORMS:
        raise InputError(
            f"{path}: found a name that ends in {path.suffix or 'nothing'}, expected {' or '.join(FORMS)}"
        )
    receipt = path.with_name(path.name + _RECEIPT)
    with files.added(path) as file, files.added(receipt) as beside:
        show("reading the store")
        try:
            policy, bounds, used = _used(store, path)
            made = _anonymous(used, bounds, path, policy, show)
        except InputError:
            store.record(question, refused=True)
            raise
        content = _written(_under_tokens(made.rows), path.suffix)
        answer = _receipt(store, path, policy, bounds, made, content)
        file.write(content)
        beside.write(orjson.dumps(answer.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        store.record(question, xxhash.xxh3_128(content).hexdigest())
    return answer


def _used(store: Store, path: Path) -> tuple[Policy, AnonymityBounds, pyarrow.Table]:
    """The policy in force, the bounds that hold, and the rows that may leave, by numbers of wearers.

    A row is judged by the policy that tagged it, so one whose policy permits no anonymised export stays, and
    of several policies the stricter bounds hold. What a zone takes without consent is left out: it tells of
    the device and of rights, not of use.
    """
    policy = newest_policy(store)
    bounds, policies = policy.anonymised, StoredPolicies(store.policies)
    if bounds is None:
        raise InputError(
            f"{path}: found no table [{ANONYMISED}] in the policy in force, {policy.name} {policy.version}, "
            "expected one: without it no anonymised export is permitted. Who answers for the policy says "
            "there what it has to hold to (docs/policies.md)"
        )
    rows: set[tuple[str, str, int, str]] = set()
    provided = f"{NATURES.index('provided'):02x}"
    for version, zone, *row in store.shown(ANONYMISED, {"provided": provided, "sink": ZONED}).rows:
        tagged = policies.version(version)
        if tagged.anonymised is not None and not tagged.zones_by_name[zone].without_consent:
            bounds = bounds.together(tagged.anonymised)
            rows.add(tuple(row))
    if len(rows) > limits.ANONYMISED_ROWS_MAX:
        raise InputError(
            f"{path}: found {len(rows):,} rows of wearers at places in hours, expected at most "
            f"{limits.ANONYMISED_ROWS_MAX:,}; export an earlier moment (--as-of) or fewer stores"
        )
    return policy, bounds, _numbered(rows)


def _numbered(rows: Iterable[tuple[str, str, int, str]]) -> pyarrow.Table:
    """Rows with a number in place of each wearer, so that what follows never has a name."""
    ordered = sorted(rows)
    numbers = {wearer: number for number, wearer in enumerate(dict.fromkeys(row[0] for row in ordered))}
    return pyarrow.table(
        {
            "wearer": pyarrow.array((numbers[row[0]] for row in ordered), pyarrow.int64()),
            "place": pyarrow.array((row[1] for row in ordered), pyarrow.string()),
            "hour": pyarrow.array((row[2] for row in ordered), pyarrow.int64()),
            "told": pyarrow.array((row[3] for row in ordered), pyarrow.string()),
        }
    )


def _anonymous(
    used: pyarrow.Table, bounds: AnonymityBounds, path: Path, policy: Policy, show: Callable[[str], None]
) -> _Made:
    """Rows at the finest level that holds to the bounds; InputError, with what was measured, if none does."""
    with Microdata(used) as data:
        before = data.unique()
        for place, period in LEVELS:
            show(f"{place} place by the {period}")
            data.generalise(place, period)
            whole = data.measures()
            data.suppress(bounds)
            measures, after = data.measures(), data.unique()
            suppressed = whole.rows - measures.rows
            if (
                measures.rows
                and 100 * suppressed <= bounds.suppressed_percent_max * whole.rows
                and 100 * after.by_all <= bounds.unique_percent_max * after.wearers
            ):
                return _Made(data.rows(), place, period, measures, suppressed, before, after)
    among = "1 wearer" if before.wearers == 1 else f"{before.wearers:,} wearers"
    left_out = 100 * suppressed / max(whole.rows, 1)
    expected = ", ".join(f"{name} {bound}" for name, bound in to_builtins(bounds).items())
    raise InputError(
        f"{path}: found {among} and, without places and by whole days, k = {whole.k:,}, "
        f"l = {whole.l_distinct:,} and t = {whole.t:.2f}; {left_out:.0f} % of the rows would have to be left "
        f"out, and {after.percent:.0f} % of the wearers stay unique. Expected {expected} of [{ANONYMISED}] "
        f"(policy {policy.name} {policy.version}); nothing was written. Export days that more wearers share, "
        "or ask who answers for the policy whether more may be left out"
    )


def _under_tokens(rows: pyarrow.Table) -> pyarrow.Table:
    """The rows with a token in place of each wearer's number, in an order that is of the tokens alone."""
    numbers = rows.column("wearer").to_pylist()
    tokens = {number: secrets.token_hex(_TOKEN_BYTES) for number in set(numbers)}
    named = rows.set_column(
        0, "token", pyarrow.array([tokens[number] for number in numbers], pyarrow.string())
    )
    return named.sort_by([(name, "ascending") for name in named.column_names])


def _written(rows: pyarrow.Table, form: str) -> bytes:
    sink = pyarrow.BufferOutputStream()
    if form == ".csv":
        # Few export.
        from pyarrow import csv  # noqa: PLC0415

        csv.write_csv(rows, sink)
    else:
        from pyarrow import parquet  # noqa: PLC0415

        parquet.write_table(rows, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _receipt(
    store: Store, path: Path, policy: Policy, bounds: AnonymityBounds, made: _Made, content: bytes
) -> AnonymisedExport:
    measures = made.measures
    return AnonymisedExport(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        epoch=store.epoch,
        policy=f"{policy.name} {policy.version}",
        bounds=bounds,
        quasi_identifiers=_QUASI_IDENTIFIERS,
        sensitive=_SENSITIVE,
        place=made.place,
        period=made.period,
        rows=measures.rows,
        wearers=made.after.wearers,
        classes=measures.classes,
        k=measures.k,
        l_distinct=measures.l_distinct,
        l_entropy=round(measures.l_entropy, 3),
        t=round(measures.t, 3),
        suppressed=made.suppressed,
        wearers_suppressed=made.before.wearers - made.after.wearers,
        unique_before=made.before,
        unique_after=made.after,
        measured_as=_MEASURED_AS,
    )
