"""An anonymised export holds to the policy's bounds and names nobody, or is not there."""

from __future__ import annotations

import hashlib
import json
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import orjson
import pytest
import xxhash
from click.testing import CliRunner, Result
from pyarrow import parquet

from streams import open_store, unfiltered
from streams.audit_log import AUDIT_LOG
from streams.cli.main import main
from streams.errors import InputError
from streams.queries.reads import reads
from streams.queries.role import Role
from streams.queries.store import Store
from tests.queries.anonymous import (
    Record,
    generalised,
    k_of,
    l_of,
    points_of,
    records_in,
    suppressed,
    t_of,
    unique_by,
    unique_by_one,
)
from tests.queries.fleet import (
    BOUNDS,
    CANARY,
    DAY_NS,
    HOUR_NS,
    Use,
    commuters,
    fleet,
    permitting,
    published,
    used,
)
from tests.snapshots.build import HOUSEHOLD, POLICY, store

_FIRST_HOUR = DAY_NS // HOUR_NS
_TOLD = {"voice_query", "feedback"}


def export(store_at: Path, file: Path, role: str = "analyst", *more: str) -> Result:
    words = ["export", "anonymised", str(file), "--store", str(store_at), "--role", role, *more]
    return CliRunner().invoke(main, words)


def receipt_of(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.with_name(f"{file.name}.receipt.json").read_bytes())
    return read


def leaving(uses: Iterable[Use]) -> list[tuple[int, str, int, str]]:
    """What the household's policy lets out of these: nothing of home, and nothing of the device itself."""
    return [
        (use.wearer, use.place, _FIRST_HOUR + use.hour, use.kind if use.kind in _TOLD else "")
        for use in uses
        if use.kind != "device_state" and (use.place != "home" or use.kind in _TOLD)
    ]


def logged(store_at: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (store_at / AUDIT_LOG).read_bytes().splitlines()]


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of thirty wearers over two days."""
    return fleet(tmp_path_factory.mktemp("fleet") / "s", commuters(), permitting())


def test_the_file_holds_to_what_its_receipt_says(thirty: Path, tmp_path: Path) -> None:
    file = tmp_path / "use.csv"
    result = export(thirty, file, "analyst", "--json")
    assert result.exit_code == 0, result.stderr
    rows, receipt = records_in(file), receipt_of(file)
    printed = json.loads(result.stdout)
    assert receipt == {name: printed[name] for name in receipt}
    assert printed.keys() - receipt.keys() == {"role", "hidden"}
    whole = generalised(leaving(commuters()), {"hour": 1, "part of day": 6, "day": 24}[receipt["period"]])
    # Which points are drawn follows from the place of a wearer's name among all names.
    places = {wearer: place for place, wearer in enumerate(sorted(range(30), key=lambda n: f"w{n}-"))}
    finest = generalised([(places[use[0]], *use[1:]) for use in leaving(commuters())], 1)
    expected = {
        "rows": len(rows),
        "wearers": len(points_of(rows)),
        "k": k_of(rows),
        "l_distinct": l_of(rows),
        "t": round(float(t_of(rows)), 3),
        "suppressed": len(whole) - len(rows),
        "wearers_suppressed": 30 - len(points_of(rows)),
        "unique_before": {
            "wearers": 30,
            "by_one": unique_by_one(finest),
            "by_four": unique_by(finest, 4),
            "by_all": unique_by(finest),
        },
        "unique_after": {"wearers": len(points_of(rows)), "by_one": 0, "by_four": 0, "by_all": 0},
        "bounds": BOUNDS,
        "quasi_identifiers": ["place", "period"],
        "sensitive": "told",
        "file": "use.csv",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
    }
    assert {name: receipt[name] for name in expected} == expected
    assert k_of(rows) >= BOUNDS["k_min"]
    assert l_of(rows) >= BOUNDS["l_min"]
    assert 100 * t_of(rows) <= BOUNDS["t_percent_max"]
    assert unique_by(rows) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"use.csv", "use.csv.receipt.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_it_is_the_finest_level_that_holds(thirty: Path, tmp_path: Path) -> None:
    file = tmp_path / "use.csv"
    assert export(thirty, file).exit_code == 0
    receipt, uses = receipt_of(file), leaving(commuters())
    for without_places in (False, True):
        for period, hours in (("hour", 1), ("part of day", 6), ("day", 24)):
            whole = generalised(uses, hours, without_places=without_places)
            kept = suppressed(whole, BOUNDS["k_min"], BOUNDS["l_min"], BOUNDS["t_percent_max"])
            share = 100 * (len(whole) - len(kept)) / len(whole)
            if kept and share <= BOUNDS["suppressed_percent_max"] and not unique_by(kept):
                assert (receipt["place"], receipt["period"]) == ("any" if without_places else "each", period)
                assert without_tokens(records_in(file)) == without_tokens(kept)
                return
    raise AssertionError("no level holds, and something was written")


def without_tokens(rows: list[Record]) -> Counter[tuple[Record, ...]]:
    """The rows of each wearer, whoever that is."""
    of: dict[str, list[Record]] = {}
    for row in sorted(rows):
        of.setdefault(row.wearer, []).append(row._replace(wearer=""))
    return Counter(map(tuple, of.values()))


def test_tokens_are_one_wearers_within_a_file_and_nobodys_in_the_next(thirty: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.csv", "two.csv", "three.parquet")]
    for file in files:
        assert export(thirty, file).exit_code == 0
    first, second = map(records_in, files[:2])
    third = [Record(*row.values()) for row in parquet.read_table(files[2]).to_pylist()]
    tokens = [{row.wearer for row in rows} for rows in (first, second, third)]
    assert [len(some) for some in tokens] == [30] * 3
    assert len(set.union(*tokens)) == 90
    assert without_tokens(first) == without_tokens(second) == without_tokens(third)
    for rows in (first, second, third):
        assert rows == sorted(rows), "the order tells of the store"


def test_nothing_that_names_somebody_is_in_the_files(thirty: Path, tmp_path: Path) -> None:
    assert CANARY.encode() in b"".join(
        path.read_bytes() for path in sorted(thirty.rglob("*")) if path.is_file()
    ), "canaries do not lie in the store as they are: this looks in vain"
    for name in ("use.parquet", "use.csv"):
        assert export(thirty, tmp_path / name).exit_code == 0
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert CANARY.encode() not in content
        assert str(tmp_path).encode() not in content
    file = parquet.ParquetFile(tmp_path / "use.parquet")
    assert file.schema_arrow.names == ["token", "place", "period", "told"]
    assert file.schema_arrow.metadata is None
    told = [
        (column.path_in_schema, column.statistics.min, column.statistics.max)
        for group in range(file.metadata.num_row_groups)
        for column in (file.metadata.row_group(group).column(at) for at in range(4))
    ]
    values = str([told, file.read().to_pylist(), file.metadata.metadata])
    assert CANARY not in values
    assert not any(f"g{wearer}-" in values or f"w{wearer}-" in values for wearer in range(30))


def test_an_export_is_recorded_with_its_digest_before_it_is_there(thirty: Path, tmp_path: Path) -> None:
    file = tmp_path / "use.parquet"
    assert export(thirty, file).exit_code == 0
    line = logged(thirty)[-1]
    assert (line["question"], line["exported"]) == (f"export anonymised {file}", True)
    assert line["wrote"] == xxhash.xxh3_128(file.read_bytes()).hexdigest()
    assert "refused" not in line


def test_an_export_that_cannot_be_recorded_leaves_no_file(tmp_path: Path) -> None:
    ours = fleet(tmp_path / "s", commuters(), permitting())
    (ours / AUDIT_LOG).mkdir()
    result = export(ours, tmp_path / "use.csv")
    assert (result.exit_code, "cannot be recorded" in result.stderr) == (3, True)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize(
    ("uses", "bounds", "sentence"),
    [
        # A household of three.
        (commuters(3), {}, "found 3 wearers and, without places and by whole days, k = 3, l = 2"),
        # Everybody asked, always: who is known to have been there is known to have asked.
        (
            [Use(wearer, "street", 8, "voice_query") for wearer in range(30)],
            {},
            "k = 30, l = 1 and t = 0.00; 100 % of the rows would have to be left out",
        ),
        # One day on which everybody asked, one on which nobody did.
        (
            [
                Use(wearer, "street", 24 * day + 8, kind)
                for wearer in range(30)
                for day, kind in ((0, "voice_query"), (1, "imu"))
            ],
            {"l_min": 1},
            "k = 30, l = 1 and t = 0.50; 100 % of the rows would have to be left out",
        ),
        # One of thirty was there on a third day, alone.
        (
            [*commuters(30, 2), Use(0, "street", 56)],
            {"suppressed_percent_max": 0},
            "k = 1, l = 1 and t = ",
        ),
    ],
)
def test_below_the_bounds_it_is_refused(
    uses: list[Use], bounds: dict[str, int], sentence: str, tmp_path: Path
) -> None:
    policy = permitting(bounds)
    ours = fleet(tmp_path / "s", uses, policy)
    result = export(ours, tmp_path / "use.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert f"of [anonymised] (policy household {policy.version}); nothing was written" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    (line,) = logged(ours)
    assert (line["exported"], line["refused"], "wrote" in line) == (False, True, False)
    with Store.open(ours, Role("privacy-officer")) as opened:
        answer = reads(opened)
    assert (answer.exports, answer.latest.rows[0].refused) == (0, True)


def test_who_is_told_from_all_others_by_their_days_is_counted_and_refused(tmp_path: Path) -> None:
    """Each day has six wearers or more, and each wearer was there on two days that no other one shares."""
    pairs = list(combinations(range(9), 2))[:30]
    uses = [
        Use(wearer, "street", 24 * day + 8, kind)
        for wearer, days in enumerate(pairs)
        for day in days
        for kind in ("imu", *(("voice_query",) if wearer % 2 else ()))
    ]
    loose = {"l_min": 1, "t_percent_max": 100}
    ours = fleet(tmp_path / "s", uses, permitting(loose))
    refused = export(ours, tmp_path / "use.csv")
    assert refused.exit_code == 2
    assert "0 % of the rows would have to be left out, and 100 % of the wearers stay unique" in refused.stderr
    open_to_it = fleet(tmp_path / "t", uses, permitting(loose | {"unique_percent_max": 100}))
    assert export(open_to_it, tmp_path / "use.csv").exit_code == 0
    unique = {"wearers": 30, "by_one": 0, "by_four": 30, "by_all": 30}
    assert receipt_of(tmp_path / "use.csv")["unique_after"] == unique


def test_without_a_table_no_export_is_permitted(tmp_path: Path) -> None:
    ours = fleet(tmp_path / "s", commuters(), HOUSEHOLD)
    result = export(ours, tmp_path / "use.csv")
    assert result.exit_code == 2
    assert f"no table [anonymised] in the policy in force, household {HOUSEHOLD.version}" in result.stderr
    assert [line["refused"] for line in logged(ours)] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("role", ["analyst", "privacy-officer", "wearer:w1-canary"])
def test_a_role_takes_out_what_may_leave_and_nobody_else_is_counted(role: str, tmp_path: Path) -> None:
    """Of more wearers some are only at home, some only charge their glasses, and some were refused."""
    hidden = [Use(100 + number, "home", 8) for number in range(12)]
    hidden += [Use(200 + number, "street", 8, "device_state") for number in range(6)]
    policy = permitting()
    refused = used([Use(300 + number, "street", 8) for number in range(9)], policy, 1)["decisions"]
    epochs = {"policies": [published(policy)], **used([*commuters(), *hidden], policy)}
    ours = store(tmp_path / "s", epochs, {"decisions": [row | {"passed": False} for row in refused]})
    result = export(ours, tmp_path / "use.csv", role)
    if role.startswith("wearer"):
        assert result.exit_code == 2
        assert "found 1 wearer and," in result.stderr
        assert logged(ours)[-1]["refused"]
        return
    assert result.exit_code == 0, result.stderr
    assert receipt_of(tmp_path / "use.csv")["unique_before"]["wearers"] == 30
    assert {row.place for row in records_in(tmp_path / "use.csv")} == {"street", "work"}


def test_a_role_to_which_nothing_may_leave_is_refused_and_recorded(tmp_path: Path) -> None:
    ours = fleet(tmp_path / "s", [Use(wearer, "home", 8) for wearer in range(30)], permitting())
    result = export(ours, tmp_path / "use.csv")
    assert result.exit_code == 2
    assert "found no policy that decided about what the role is shown" in result.stderr
    assert [line["refused"] for line in logged(ours)] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_rows_are_judged_by_the_policy_that_tagged_them(tmp_path: Path) -> None:
    """What was taken under a policy without the table stays, and of two policies the stricter bounds hold."""
    strict, loose = permitting({"k_min": 7}), permitting({"k_min": 3, "suppressed_percent_max": 25})
    before = [use._replace(wearer=use.wearer + 500) for use in commuters()]
    epochs = [
        {"policies": [POLICY], **used(before, HOUSEHOLD)},
        {"policies": [published(strict)], **used(commuters(15), strict, 1)},
        {"policies": [published(loose)], **used([use for use in commuters() if use.wearer >= 15], loose, 2)},
    ]
    ours = store(tmp_path / "s", *epochs)
    assert export(ours, tmp_path / "use.csv").exit_code == 0
    receipt = receipt_of(tmp_path / "use.csv")
    assert receipt["unique_before"]["wearers"] == 30
    assert receipt["bounds"] == BOUNDS | {"k_min": 7}
    assert receipt["policy"] == f"household {loose.version}"
    # Whoever answers for the policy can end it for all.
    ended = store(tmp_path / "t", *epochs[1:], {"policies": [POLICY], **used(before, HOUSEHOLD, 3)})
    assert "no table [anonymised]" in export(ended, tmp_path / "more.csv").stderr


@pytest.mark.parametrize(
    ("name", "before", "sentence"),
    [
        ("use.json", lambda _: None, "use.json: found a name that ends in .json, expected .parquet or .csv"),
        ("use", lambda _: None, "found a name that ends in nothing, expected .parquet or .csv"),
        ("use.csv", lambda path: path.touch(), "use.csv: found something under this name, expected nothing"),
        (
            "use.csv",
            lambda path: path.with_name("use.csv.receipt.json").touch(),
            "use.csv.receipt.json: found something under this name",
        ),
        ("none/use.csv", lambda _: None, "cannot be written"),
    ],
)
def test_a_name_that_cannot_be_written_is_a_sentence(
    thirty: Path, name: str, before: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    before(tmp_path / name)
    there = sorted(tmp_path.iterdir())
    result = export(thirty, tmp_path / name)
    assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr
    assert sorted(tmp_path.iterdir()) == there


def test_what_is_printed_names_all_figures(thirty: Path, tmp_path: Path) -> None:
    printed = export(thirty, tmp_path / "use.csv").stdout
    for figure in ("rows", "k ", "l distinct", "l entropy", "t ", "suppressed", "unique before"):
        assert f"\n{figure}" in printed
    for source in (
        "Sweeney 2002",
        "Machanavajjhala et al. 2007",
        "Li et al. 2007",
        "de Montjoye et al. 2013",
    ):
        assert source in printed


def test_a_program_exports_the_same(thirty: Path, tmp_path: Path) -> None:
    with open_store(thirty, role="analyst") as opened:
        answer = opened.export_anonymised(tmp_path / "use.csv")
    assert json.loads(json.dumps(answer.to_dict())) == receipt_of(tmp_path / "use.csv")
    assert logged(thirty)[-1]["question"] == f"export anonymised {tmp_path / 'use.csv'}"
    with unfiltered(thirty) as opened, pytest.raises(InputError, match="without a role that exports"):
        opened.export_anonymised(tmp_path / "more.csv")
