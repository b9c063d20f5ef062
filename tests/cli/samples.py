"""A sample of every command with every option, as a table: a new option needs a line here, or a word in one.

`{name}` stands for what the test made: `store`, `journal`, `policy`, `tmp` and so on.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """A line as somebody types it, the exit code that is right for it, and what it is given to read."""

    line: str
    code: int = 0
    stdin: str = ""


_AS = "--store {store} --role privacy-officer"
_THEN = f"{_AS} --as-of 2100-01-01T00:00:00Z"
_EVER = "--since 2020-01-01T00:00:00Z"
_UNTIL = "--until 2100-01-01T00:00:00Z"
_ROOT = Path(__file__).parents[2]
#: The receipt that docs/rights.md shows, its key, and whose it is.
_RECEIPT = f"{_ROOT}/docs/examples/receipt.json --key {_ROOT}/docs/examples/receipt-key.pub"
_HERS = f"{_RECEIPT} --subject w1 --salt {bytes(range(100, 132)).hex()}"
#: Without a broker, in any order.
ALONE: tuple[Sample, ...] = (
    Sample("sightline --version"),
    Sample("sightline topology"),
    Sample("sightline topology --json"),
    Sample(
        "sightline --time-zone Europe/Zurich ask find --kind answer --store {store} --role privacy-officer"
    ),
    Sample("sightline settings"),
    Sample("sightline settings --json"),
    Sample("sightline page --store {store} --role wearer:w9 --export {tmp}/exported"),
    Sample("sightline page --store {store} --role analyst --role nobody", code=2),
    Sample(f"sightline report --out {{tmp}}/report.html --journal {{journal}} {_AS}"),
    Sample(f"sightline report --out {{tmp}}/report.html --force --last 90min {_THEN}"),
    Sample(
        "sightline page --broker 127.0.0.1:9 --topic-prefix '' --store {store} --role privacy-officer"
        " --port 0 --host localhost --allow-host page.example --metrics-port 0 --metrics-host 127.0.0.1"
        " --log text --ready-fd {fd} --ready-file {ready}"
    ),
    Sample(f"sightline watch --once --rules {{rules}} {_AS}", code=1),
    Sample(
        "sightline watch --broker 127.0.0.1:9 --topic-prefix '' --store {store} --role privacy-officer --json"
        " --interval 0.2 --post http://127.0.0.1:9/ --allow-remote --log text --ready-fd {fd}"
        " --ready-file {ready}"
    ),
    Sample(f"sightline ask ancestors g1/answer/1 --through-models {_THEN}"),
    Sample(f"sightline ask ancestors g1/answer/1 --through-models --all {_AS} --json"),
    Sample(f"sightline ask ancestors g1/answer/1 --format dot {_AS}"),
    Sample(f"sightline ask why g1/answer/1 --format mermaid {_THEN}"),
    Sample(f"sightline ask why g1/imu-right/20 {_AS} --json"),
    Sample(f"sightline ask genuine g1/answer/1 {'0' * 32} {_AS} --json", code=1),
    Sample(f"sightline ask genuine g1/answer/1 {'0' * 32} --format table {_THEN}", code=1),
    Sample(f"sightline ask loop g1/answer/1 {_THEN}"),
    Sample(f"sightline ask loop g1/imu-right/500 --format json {_AS} --json"),
    Sample(f"sightline ask missing --format table {_THEN}"),
    Sample(f"sightline ask missing {_AS} --json"),
    Sample(f"sightline ask superseded {_THEN}"),
    Sample(f"sightline ask card training/intent-model/1 {_THEN}"),
    Sample(f"sightline ask card training/intent-model/1 --format table {_AS} --json"),
    Sample(f"sightline ask card g1/answer/1 {_AS}", code=2),
    Sample(f"sightline ask superseded --format table {_AS} --json"),
    Sample(f"sightline ask usage --by wearer {_THEN}"),
    Sample(f"sightline ask usage --format table {_AS} --json"),
    Sample(f"sightline ask creep {_THEN}"),
    Sample(f"sightline ask creep --format json {_AS} --json"),
    Sample(f"sightline rights due {_THEN}"),
    Sample(f"sightline rights due --format table {_AS} --json"),
    Sample(f"sightline ask wearer w1 {_THEN}"),
    Sample(f"sightline ask wearer w1 --format json {_AS} --json"),
    Sample(f"sightline ask changes 1 2 --format table {_THEN} --json"),
    Sample(f"sightline ask completeness --format table {_THEN} --json"),
    Sample(f"sightline ask io-coverage --format table {_THEN} --json"),
    Sample(f"sightline ask crossings --zone public --sink glasses.zoned --every day {_EVER} {_UNTIL} {_AS}"),
    Sample(f"sightline ask crossings --refused --format table {_THEN} --json"),
    Sample(f"sightline ask decisions g1/answer/1 --format table {_THEN} --json"),
    Sample(f"sightline ask descendants g1/imu-right/500 --depth 2 {_UNTIL} --format dot {_AS}"),
    Sample(f"sightline ask descendants g1/imu-right/500 --through-models {_THEN} --json"),
    Sample(
        f"sightline ask find --wearer w1 --zone public --kind imu --subject wearer {_EVER} {_UNTIL} {_AS}"
    ),
    Sample(f"sightline ask find --kind answer --format table {_THEN} --json"),
    Sample(f"sightline ask reach w1 --format table {_THEN} --json"),
    Sample(f"sightline ask reached g1/answer/1 g1/answer/2 --format table {_THEN} --json", code=1),
    Sample(f"sightline ask reads --zone health --user root {_EVER} {_AS}"),
    Sample(f"sightline ask reads --format table {_THEN} --json"),
    Sample(f"sightline ask withdraw w1 --what-if --purpose ai:ModelTraining --format table {_THEN} --json"),
    Sample(f"sightline requirements --policy enterprise --format table {_THEN}"),
    Sample(f"sightline requirements {_AS} --json"),
    Sample(f"sightline requirement nobody-learns-from-health --format table {_THEN}"),
    Sample(f"sightline requirement no-training-on-employees --policy enterprise {_AS} --json"),
    Sample(
        f"sightline report ropa --policy household --extend tests.extensions.temple --format table {_THEN}"
    ),
    Sample(f"sightline report ropa training-run {_AS} --json"),
    Sample(f"sightline report transfers --policy enterprise --format json {_THEN}"),
    Sample(f"sightline report transfers --extend tests.extensions.temple {_AS} --json"),
    Sample(f"sightline report notice --format table {_THEN}"),
    Sample(f"sightline report notice --policy clinic {_AS} --json"),
    Sample(f"sightline inventory --policy enterprise --format table {_THEN}"),
    Sample(f"sightline inventory --extend tests.extensions.temple {_AS} --json"),
    Sample(f"sightline status --broker 127.0.0.1:9 {_AS}", code=3),
    Sample(f'sightline sql "FROM events" --rows 3 --format markdown {_AS}'),
    Sample(f'sightline sql "FROM edges" --out {{tmp}}/edges.csv --format csv {_AS}'),
    Sample(f"sightline sql {_AS} --json", stdin="SELECT 1;\nSHOW TABLES;\n"),
    Sample("sightline policy check {policy} --extend tests.extensions.temple"),
    Sample("sightline policy check household --json"),
    Sample("sightline policy notice {policy} --extend tests.extensions.temple"),
    Sample("sightline policy notice household --json"),
    Sample("sightline policy show {policy} --extend tests.extensions.temple"),
    Sample("sightline policy show household --json"),
    Sample("sightline policy test household --extend tests.extensions.temple"),
    Sample("sightline policy test {policy} --json", code=1),
    Sample(f"sightline policy explain g1/answer/1@glasses.answers {_AS}"),
    Sample(f"sightline policy explain g1/answer/1 {_AS} --json"),
    Sample("sightline policy diff household {policy} --exit-code", code=1),
    Sample("sightline policy diff household {policy} --over {store} --role privacy-officer --json"),
    Sample("sightline policy diff household {policy} --over {journal} --extend tests.extensions.temple"),
    Sample(f"sightline policy recheck {_AS}"),
    Sample(f"sightline policy recheck {_AS} --json"),
    Sample(f"sightline policy shadow {_AS}"),
    Sample(f"sightline policy shadow {_AS} --json"),
    Sample("sightline ledger {journal} --store {store}"),
    Sample("sightline ledger {journal} --store {store} --keys {tmp}/none", code=2),
    Sample("sightline ledger {journal} --store {store} --erased g7 --extend tests.extensions.temple --json"),
    Sample("sightline topics --schemas {tmp}/schemas --extend tests.extensions.temple"),
    Sample("sightline keys show --keys {own_keys} --json"),
    Sample("sightline keys renew --keys {own_keys} --json"),
    Sample("sightline keys show --keys {tmp}/none", code=2),
    Sample("sightline keys renew --keys {tmp}/none", code=2),
    Sample("sightline keys serve --keys {own_keys} --principal study-7 --broker 127.0.0.1:9", code=2),
    Sample(
        "sightline keys serve --keys {own_keys} --principal study-7={tmp}/token --host 0.0.0.0"
        " --broker 127.0.0.1:9",
        code=2,
    ),
    Sample(f"sightline rights verify {_HERS}"),
    Sample(f"sightline rights verify {_RECEIPT} --json"),
    Sample(f"sightline rights verify {_HERS.replace(' w1 ', ' w2 ')} --json", code=1),
    Sample(f"sightline rights verify {_RECEIPT} --subject w1", code=2),
    Sample("sightline rights verify {policy} --keys {tmp}/none", code=2),
    Sample(f"sightline rights export --wearer w1 --as access --out {{tmp}}/hers --keys {{tmp}}/none {_AS}"),
    Sample(f"sightline rights export --wearer w1 --as access --out {{tmp}}/hers {_AS} --json"),
    Sample(f"sightline rights export --wearer w7 --as access --out {{tmp}}/hers {_AS}", code=2),
    Sample(f"sightline rights export --wearer w1 --as portability --out {{tmp}}/hers {_AS}", code=2),
    Sample("sightline replay {journal} --store {tmp}/replayed --out {tmp}/derived --policy {policy} --json"),
    Sample("sightline evaluate --draw 1 --every 400 --part loop --part gate"),
    Sample("sightline evaluate --draw 2 --every 400 --part loop --json"),
    Sample("sightline snapshots --migrate --store {copy}"),
    Sample(f"sightline export openlineage {{tmp}}/events.jsonl {_AS}"),
    Sample(f"sightline export prov {{tmp}}/lineage.json {_THEN} --json"),
    Sample(f"sightline export graphml {{tmp}}/lineage.graphml {_AS}"),
    Sample(f"sightline export anonymised {{tmp}}/use.parquet {_AS}", code=2),
    Sample(f"sightline snapshots export {_AS} --out {{tmp}}/whole.duckdb --json"),
    Sample(
        f"sightline snapshots export {_AS} --out {{tmp}}/shared --follow --log json --ready-fd {{fd}}"
        " --ready-file {ready}"
    ),
    # A whole one is played by tests/e2e/test_erasure.py, step by step.
    Sample("sightline demo --rights --devices 1 --store {tmp}/rights", code=2),
    Sample("device-sim --version"),
    Sample("device-sim list"),
    Sample("device-sim list --json"),
    Sample(
        "device-sim run --scenario smoke --devices 1 --speed 20 --seed 2 --duration-s 2 --faults --to file"
        " --journal {tmp}/faults --partitions 4 --start-ns 1790000000000000000 --policy household"
        " --encoding binary --json"
    ),
    Sample("device-sim run --to file --duration-s 1 --first 2 --no-faults --journal {tmp}/perfect"),
)
#: After those of `LIVE`, which erase somebody.
SNAPSHOTS = Sample("sightline snapshots --broker {broker} --store {store} --keys {keys} --until-end")
#: With the broker and the worker of `PROCESSES`, in this order.
LIVE: tuple[Sample, ...] = (
    Sample("sightline topics --plan --broker {broker} --topic-prefix '' --partitions 4"),
    Sample("sightline topics --migrate --broker {broker} --topic-prefix '' --json"),
    Sample("sightline pair --device g9 --wearer w9 --broker {broker} --topic-prefix ''"),
    Sample("sightline pair --device g9 --wearer w9 --end --broker {broker} --topic-prefix '' --json"),
    Sample("sightline pair --list --broker {broker} --topic-prefix ''"),
    Sample("sightline pair --list --broker {broker} --topic-prefix '' --json"),
    Sample(
        "device-sim run --scenario smoke --devices 1 --speed 20 --no-faults --to kafka --broker {broker}"
        " --topic-prefix ''"
        " --partitions 4 --journal {sent} --extend tests.extensions.temple --json"
    ),
    Sample(
        "device-sim load --devices 1 --first 2 --rate 50 --duration-s 1 --backlog-s 1 --scenario load"
        " --seed 3 --faults --encoding mixed --broker {broker} --partitions 4 --journal {sent} --json"
        " --topic-prefix '' --extend tests.extensions.temple"
    ),
    Sample(
        "device-sim load --devices 1 --first 2 --duration-s 0.5 --no-faults --broker {broker}"
        " --topic-prefix ''"
        " --journal {sent}"
    ),
    Sample(
        "device-sim consent narrow --wearer w1 --device g1 --journal {sent} --broker {broker}"
        " --topic-prefix ''"
        " --purposes dpv:RequestedServiceProvision --expires 2100-01-31T12:00:00Z --partitions 4"
        " --extend tests.extensions.temple"
    ),
    Sample(
        "device-sim consent withdraw --wearer w1 --device g1 --journal {sent} --broker {broker} --json"
        " --topic-prefix ''"
        " --extend tests.extensions.temple"
    ),
    Sample(
        "device-sim consent withdraw --wearer w1 --journal {sent} --broker {broker} --partitions 4",
        code=2,
    ),
    Sample(
        "device-sim consent give --wearer w1 --device g1 --journal {sent} --broker {broker} --partitions 4"
        " --topic-prefix ''"
        " --expires 2100-01-31T12:00:00Z --purposes dpv:RequestedServiceProvision --json"
        " --extend tests.extensions.temple"
    ),
    Sample(
        "device-sim consent narrow --wearer w2 --purposes '' --journal {sent} --broker {broker} --json", 2
    ),
    Sample("sightline consent show --wearer w1 --broker {broker} --topic-prefix ''"),
    Sample("sightline consent show --wearer w1 --broker {broker} --topic-prefix '' --json"),
    Sample("sightline consent withdraw --wearer w1 --broker {broker} --topic-prefix ''"),
    Sample("sightline consent withdraw --wearer w1 --broker {broker} --topic-prefix '' --json"),
    Sample("sightline policy publish {policy} --next --broker {broker} --topic-prefix ''"),
    Sample("sightline policy publish --withdraw-next --broker {broker} --topic-prefix '' --json"),
    Sample(
        "sightline policy publish {policy} --broker {broker} --topic-prefix ''"
        " --extend tests.extensions.temple --json"
    ),
    Sample("sightline models rollback --to 1 --why '' --broker {broker} --json", code=2),
    Sample(
        "sightline models compare --broker {broker} --keys {keys} --topic-prefix ''"
        " --extend tests.extensions.temple"
    ),
    Sample("sightline models compare --version 1 --broker {broker} --keys {keys} --json"),
    Sample("sightline models compare --version 999 --broker {broker}", code=2),
    Sample("sightline training --broker {broker}", code=2),
    Sample("sightline training --dry-run --broker {broker} --keys {keys} --topic-prefix ''"),
    Sample(
        "sightline training --dry-run --broker {broker} --keys {keys} --topic-prefix ''"
        " --extend tests.extensions.temple --json"
    ),
    Sample(
        "sightline models rollback --to 999 --why 'nobody made it' --broker {broker} --keys {keys}"
        " --topic-prefix '' --extend tests.extensions.temple",
        code=2,
    ),
    Sample(
        "sightline snapshots --broker {broker} --store {live} --until-end --adopt --log text --ready-fd {fd}"
        " --keys {keys}"
        " --topic-prefix ''"
        " --metrics-port 0 --metrics-host 127.0.0.1"
        " --ready-file {ready} --extend tests.extensions.temple"
    ),
    Sample(
        "sightline review --store {live} --broker {broker} --topic-prefix '' --unsure-below 20"
        " --extend tests.extensions.temple"
    ),
    Sample("sightline review --store {live} --broker {broker} --json"),
    Sample("sightline review g1/answer/999 --unclear --store {live} --broker {broker}", code=2),
    Sample(
        "sightline review g1/answer/999 --meant alarm_set --reviewer rita"
        " --journal {tmp}/reviews --store {live} --broker {broker} --json",
        code=2,
    ),
    Sample("sightline snapshots --broker {broker} --store {tmp}/a --partitions 0-1 --until-end"),
    Sample("sightline snapshots --broker {broker} --store {tmp}/b --partitions 2,3 --until-end"),
    Sample("sightline sql 'FROM epochs' --store {tmp}/a --store {tmp}/b --role privacy-officer"),
    Sample("sightline status --store {tmp}/a --store {tmp}/b --broker {broker} --role privacy-officer"),
    Sample("sightline ledger {sent} --store {tmp}/a --store {tmp}/b"),
    Sample("sightline keys show --keys {keys}"),
    Sample("sightline keys renew --keys {keys}"),
    Sample("sightline replay {sent} --inputs {live} --compare --extend tests.extensions.temple"),
    Sample(
        "sightline replay {sent} --inputs {live} --broker {broker} --keys {keys} --topic-prefix ''"
        " --compare --json --extend tests.extensions.temple"
    ),
    Sample("sightline ledger {sent} --broker {broker} --topic-prefix '' --store {live} --json"),
    Sample(
        "sightline status --broker {broker} --topic-prefix '' --store {live} --role privacy-officer --json"
    ),
    Sample(
        "sightline rights erase --wearer w1 --dry-run --broker {broker} --keys {keys} --topic-prefix ''"
        " --store {live} --extend tests.extensions.temple"
    ),
    Sample("sightline rights erase --wearer w1 --dry-run --no-store --broker {broker} --keys {keys} --json"),
    Sample(
        "sightline rights export --wearer w1 --as access --out {tmp}/access --broker {broker} --keys {keys}"
        " --topic-prefix '' --store {live} --role privacy-officer --extend tests.extensions.temple"
    ),
    Sample(
        "sightline rights export --wearer w1 --as portability --out {tmp}/provided --broker {broker}"
        " --keys {keys} --store {live} --role wearer:w1 --json"
    ),
    Sample(
        "sightline rights erase --wearer w1 --scope 'place home' --dry-run --broker {broker} --keys {keys}"
        " --store {live} --role privacy-officer --extend tests.extensions.temple"
    ),
    Sample(
        "sightline rights erase --wearer w1 --scope 'place clinic until 2026-09-22' --dry-run --no-store"
        " --broker {broker} --keys {keys} --store {live} --role wearer:w1 --json",
        code=2,
    ),
    Sample(
        "sightline rights bystander --place home --from 2020-01-01 --until 2020-01-02 --dry-run --no-store"
        " --broker {broker} --keys {keys} --store {live} --role privacy-officer --topic-prefix ''"
        " --receipts {tmp} --extend tests.extensions.temple --json",
        code=2,
    ),
    Sample("sightline rights erase --wearer nobody --no-store --broker {broker} --keys {keys}", code=2),
    Sample(
        "sightline rights erase --wearer w1 --scope 'since 2026-09-21' --no-store"
        " --receipt {tmp}/receipt.json --broker {broker} --keys {keys}"
    ),
    Sample("sightline rights verify {tmp}/receipt.json --keys {keys}"),
    Sample(
        "sightline rights requests --store {live} --broker {broker} --keys {keys} --topic-prefix ''"
        " --extend tests.extensions.temple"
    ),
    Sample(
        "sightline rights requests --erase --no-store --receipts {tmp} --store {live} --broker {broker}"
        " --keys {keys} --json"
    ),
    Sample(
        "sightline rights requests --follow --store {live} --broker {broker} --keys {keys} --log text"
        " --ready-fd {fd} --ready-file {ready}"
    ),
    Sample("sightline rights due --store {live} --role privacy-officer --keys {keys}"),
    Sample(
        "sightline rights consent --wearer w1 --broker {broker} --keys {keys} --topic-prefix ''"
        " --store {live} --role privacy-officer --extend tests.extensions.temple"
    ),
    Sample("sightline rights consent --wearer w1 --broker {broker} --keys {keys} --jsonld"),
    Sample("sightline rights consent --wearer w1 --broker {broker} --store {live} --json"),
    Sample("sightline rights consent --wearer w7 --broker {broker}", code=2),
    Sample("sightline rights consent --unacknowledged --broker {broker} --keys {keys} --topic-prefix ''"),
    Sample("sightline rights consent --unacknowledged --wearer w1 --broker {broker} --json"),
    Sample("sightline rights consent --unacknowledged --wearer w1 --broker {broker} --jsonld", code=2),
    Sample("sightline rights consent --broker {broker}", code=2),
    Sample("sightline rights consent --wearer w1 --broker {broker} --jsonld --json", code=2),
    Sample("sightline rights show --keys {keys}"),
    Sample("sightline rights show --keys {keys} --json"),
)
#: Commands that stay: started before `LIVE`, stopped after it.
PROCESSES: tuple[str, ...] = (
    "sightline broker --port {port} --directory {tmp}/kafka --partitions 4 --nodes 1 --log json"
    " --ready-fd {fd} --ready-file {ready}",
    "sightline worker --broker {broker} --keys {keys} --policy household --partitions 4"
    " --pair g1=w1 --pair g2=w2 --topic-prefix ''"
    " --metrics {tmp}/metrics --metrics-port 0 --metrics-host localhost --traces-to http://127.0.0.1:9"
    " --log text --accept-loss --group-prefix samples."
    " --extend tests.extensions.temple"
    " --ready-fd {fd} --ready-file {ready}",
    "sightline keys serve --broker {broker} --topic-prefix '' --keys {keys} --principal study-7={tmp}/token"
    " --host localhost --port 0 --allow-remote --log text --ready-fd {fd} --ready-file {ready}",
)
#: What `tests/e2e/test_demo.py` plays: whole demos, which take long enough once.
FIRST, SECOND = (
    "--scenario commute --seed 3 --devices 2 --policy household --no-faults --page",
    "--scenario commute --seed 4 --faults --duration-s 720 --no-page --json",
)
DEMOS: tuple[str, ...] = tuple(
    f"sightline demo --broker HOST:PORT --topic-prefix '' --store STORE --speed 10 {one}"
    for one in (FIRST, SECOND)
)
