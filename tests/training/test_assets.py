"""What a run is made from as a whole: named in the store, and refused where the policy forbids it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from streams import metrics
from streams.errors import InputError
from streams.events.record import Fetch, Received
from streams.limits import SPLIT_SEED
from streams.pipeline.bootstrap import first_records
from streams.pipeline.live import LiveTraining
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.rules import TrainingAssets
from streams.policy.source import POLICIES, bundle
from streams.policy.versions import PolicyVersions
from streams.queries.store import Store
from streams.replay.stored import stored
from streams.topology import EXAMPLES, MODELS, REJECTED
from streams.training import assets, seed
from tests import build
from tests.hostile.test_cores import no_fit
from tests.patience import PATIENCE_S
from tests.training.test_quality import PAIRS, trained
from tests.training.test_training import examples, versions

SHIPPED = Path(seed.__file__).parent


def permitting(**lists: list[str]) -> Policy:
    """The household's policy with other lists of what a run may be made from."""
    table = "\n".join(f"{name} = {listed}" for name, listed in lists.items())
    text, replaced = re.subn(
        r"(?<=\n\[training_assets\]\n)(\w+ = .*\n)+", f"{table}\n", bundle(POLICIES / "household.toml")
    )
    assert replaced == 1
    return parse(text, "mine")


def test_a_run_names_its_files_streams_and_code_in_the_store(tmp_path: Path) -> None:
    policy = permitting(licences=["CC-BY-4.0"], streams=["example"])
    written, version = trained(policy)
    assert version == 3
    with stored(tmp_path / "store") as sink:
        sink.write(first_records(policy, build.T0_NS))
        sink.write(written)
        sink.flush()
        sink.writer.publish(build.T0_NS)
    with Store.open(tmp_path / "store") as store:
        runs = store.sql(
            "SELECT version, admitted, split_seed, licences, build FROM training_runs ORDER BY 1"
        )
        rows = store.sql(
            "SELECT version, kind, name, licence, digest, examples, rule FROM training_assets ORDER BY ALL"
        )
    digests = {
        name: xxhash.xxh3_128_hexdigest((SHIPPED / f"{name}.csv").read_bytes())
        for name in ("seed", "validation")
    }
    admitted = {row[0]: row[1] for row in runs.rows}
    assert sorted(admitted) == [1, 2, 3]
    for number, *columns in runs.rows:
        assert columns[1:] == [SPLIT_SEED, ["CC-BY-4.0"], assets.build()], number
    assert [row for row in rows.rows if row[1] in digests] == [
        (number, name, f"{name}.csv", "CC-BY-4.0", digests[name], lines(name), "")
        for number in (1, 2, 3)
        for name in ("seed", "validation")
    ]
    assert [row for row in rows.rows if row[1] == "stream"] == [
        (number, "stream", "example", "", "", admitted[number], "") for number in (2, 3)
    ]


def lines(name: str) -> int:
    return len((SHIPPED / f"{name}.csv").read_text(encoding="utf-8").splitlines()) - 1


async def history(_offset: int) -> list[Received]:
    return RECORDS


RECORDS = examples(PAIRS, under=permitting())


def test_a_run_whose_licence_the_policy_forbids_is_refused_as_a_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = metrics.read("training_refused_total")
    core = LiveTraining(build.followed(permitting()), history, no_fit, 12)
    known = (permitting(), permitting(licences=["MIT"]))
    core.followed.policies.now = PolicyVersions({each.version: each for each in known}, known[1].version)
    outcome = build.step(core, core.empty(0), Fetch(EXAMPLES, 0, RECORDS[:16]))
    assert outcome.state.version == 1, "the number is free"
    assert not [record for record in outcome.outputs if record.topic == MODELS]
    assert metrics.read("training_refused_total") == before + 1
    (headers,) = [dict(record.headers) for record in outcome.outputs if record.topic == REJECTED]
    assert headers["sightline-rule"] == b"run-refused", "it is said, and the next run looks again"
    reason = headers["sightline-reason"].decode()
    assert "seed seed.csv: training_assets.licences: CC-BY-4.0 is none of MIT" in reason
    assert reason in caplog.text
    rows = build.lineage(outcome.outputs)
    assert "training_runs" not in rows
    assert {(row["kind"], row["outcome"], row["rule"] != "") for row in rows["training_assets"]} == {
        ("seed", "refused", True),
        ("validation", "refused", True),
        ("stream", "refused", False),
        ("build", "refused", False),
    }


def test_examples_of_a_stream_that_the_policy_does_not_permit_are_refused_one_by_one() -> None:
    """Any device can send one, so it must stop nobody's training."""
    written, version = trained(permitting(streams=["example-review"]))
    assert version == 3
    for made in versions(written):
        assert not made.manifest.admitted
        assert {rule for *_, rule in made.manifest.refused} == {
            "training_assets.streams: example is none of example-review"
        }
    assert "stream" not in {row["kind"] for row in build.lineage(written)["training_assets"]}


@pytest.mark.parametrize(
    ("lists", "asset"),
    [
        (
            {"licences": ["Apache-2.0"]},
            "seed seed.csv: training_assets.licences: CC-BY-4.0 is none of Apa",
        ),
        ({"licences": []}, "seed seed.csv: training_assets.licences: CC-BY-4.0 is none of nothing"),
        (
            {"builds": ["f" * 32]},
            r"build sightline [0-9.]+: training_assets.builds: [0-9a-f]{32} is no",
        ),
    ],
)
def test_no_worker_begins_under_a_policy_that_forbids_what_every_model_is_made_from(
    lists: dict[str, list[str]], asset: str
) -> None:
    with pytest.raises(InputError, match=asset):
        first_records(permitting(**lists), build.T0_NS)


def test_a_policy_without_lists_limits_nothing_and_one_may_list_this_build() -> None:
    assert permitting().training_assets == TrainingAssets()
    assert load("household").training_assets == TrainingAssets(
        licences=(seed.LICENCE,), streams=("example", "example-review")
    )
    policy = permitting(builds=[assets.build()])
    assert policy.training_assets == TrainingAssets(builds=(assets.build(),))
    assert first_records(policy, build.T0_NS)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"licences": ["CC BY"]}, r"^mine, line \d+: 'CC BY' is no name, or stands twice in licences"),
        ({"streams": ["example", "example"]}, "'example' is no name, or stands twice in streams"),
        ({"licence": ["MIT"]}, r"'licence' is not a field of .*; did you mean 'licences'\?$"),
    ],
)
def test_wrong_lists_are_told(table: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        permitting(**table)


def test_a_build_is_of_the_code_and_its_libraries(tmp_path: Path) -> None:
    """A copy has the same digest until one of its files is another one."""
    room = tmp_path / "streams"
    shutil.copytree(SHIPPED.parent, room, ignore=shutil.ignore_patterns("__pycache__", "static"))
    ask = [sys.executable, "-c", "from streams.training import assets; print(assets.build())"]

    def told() -> str:
        asked = subprocess.run(
            ask, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=PATIENCE_S
        )
        return asked.stdout.strip()

    assert told() == assets.build()
    path = room / "models" / "intent.py"
    path.write_bytes(path.read_bytes() + b"\n")
    assert told() not in {assets.build(), hashlib.sha256().hexdigest()}
