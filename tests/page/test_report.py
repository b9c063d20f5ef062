"""A report says what the questions answer, of what the role may take out, in a file that needs no other."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

import orjson
import pytest
import xxhash

from streams import limits
from streams.errors import InputError, UnavailableError
from streams.page.report.reporting import Counted
from streams.page.report.writing import Wanted, write_report
from streams.queries.role import Role
from tests.page.asking import cells, facts
from tests.page.reported import (
    BEFORE,
    GENERATIONS,
    HOUR_NS,
    OFFICER,
    POLICY,
    REQUIREMENT,
    leaving,
    made,
    report,
    right,
    rows,
    unmoved,
)
from tests.queries.pair import pair_of
from tests.snapshots.build import T0_NS

_AT = "coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns)"
CLEAN = Counted(
    findings=0, sent=190, stored=190, rejected=0, missing=0, twice=0, elsewhere=0, unknown_parents=0
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="module")
def page(path: Path) -> str:
    report(path, path.parent / "report.html", counted=CLEAN)
    return (path.parent / "report.html").read_text(encoding="utf-8")


def asked(path: Path, statement: str, role: str = OFFICER) -> list[list[str]]:
    """Rows of a statement as a report writes them: thousands apart."""
    with leaving(path, role) as store:
        rows = store.sql(statement).to_dicts()
    return [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()] for row in rows
    ]


def test_the_first_answer_counts_what_was_where_it_should_not_be(path: Path, page: str) -> None:
    results = {words: result for words, result, _ in cells(page, "checks")}
    ((passed,),) = asked(path, "SELECT sum(count)::BIGINT FROM decisions WHERE passed AND verdict <> 'allow'")
    assert results["refused by a rule, and passed all the same, because its zone only logs"] == passed == "5"
    with leaving(path) as store:
        broken = store.requirement(REQUIREMENT).violations
        missing, complete = store.missing(), store.completeness()
    assert broken == 6
    assert results["passed although a requirement of the policy forbids it"] == f"{broken}"
    assert results["stored without a zone or without a label"] == "none"
    # Ten numbers between two runs of g1/imu; an answer was made of one of them.
    assert missing.missing_events == 10
    assert results["numbers of captured streams that never arrived"] == "10"
    assert complete.outputs - complete.resolved == 1
    assert results["derived events of which a parent is not in the store"] == "1"
    notices = [html.unescape(each) for each in re.findall(r'<p class="notice error">(.*?)</p>', page, re.S)]
    assert notices[0].startswith("Yes: 5 events refused by a rule")
    assert "6 events passed although a requirement" in notices[0]
    assert notices[1].startswith("Not everything is accounted for: 10 numbers")


def test_nothing_wrong_is_a_no(tmp_path: Path) -> None:
    written = report(made(tmp_path, right()), tmp_path / "report.html", counted=CLEAN)
    text = html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No. Of everything that privacy-officer may take out of this store" in text
    assert [row[1] for row in cells(text, "checks")] == ["none"] * 7
    assert (written.wrong, written.hidden) == ((), {})
    assert "notice error" not in text


def test_what_was_not_checked_is_said(tmp_path: Path) -> None:
    report(made(tmp_path, right()), tmp_path / "report.html")
    text = html.unescape((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [row[1] for row in cells(text, "checks")] == ["none"] * 6 + ["not checked"]
    assert "Not checked: differences between what devices sent and what is stored" in text


def test_who_is_shown_nothing_is_not_told_that_nothing_was_wrong(tmp_path: Path) -> None:
    hidden = {
        table: [each for each in some if each["source"] == "g3"]
        for table, some in rows().items()
        if table in ("events", "decisions", "streams")
    }
    path = made(tmp_path, {**hidden, "policies": rows()["policies"]})
    report(path, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Nobody can say" in text
    assert "No. Of everything" not in text


def test_tables_say_what_statements_say(path: Path, page: str) -> None:
    held_back = asked(
        path, "SELECT zone, sink, sum(count)::BIGINT FROM decisions WHERE NOT passed GROUP BY ALL"
    )
    assert [[row[0], row[1], row[6]] for row in cells(page, "held-back")] == held_back
    every = "SELECT zone, sink, purpose, verdict, rule, sum(count)::BIGINT FROM decisions GROUP BY zone, sink, purpose, verdict, passed, rule"  # noqa: E501
    told = [
        [*row[:3], row[3].removesuffix(", passed and logged"), row[4], row[6]]
        for row in cells(page, "decisions")
    ]
    assert sorted(told) == sorted(asked(path, every))
    kinds = "SELECT kind, topic, count(DISTINCT source), sum(count)::BIGINT FROM events GROUP BY ALL"
    assert sorted(row[:4] for row in cells(page, "kinds")) == sorted(asked(path, kinds))
    rejected = (
        "SELECT stage, outcome, rule, reason, zone, count(*), sum(count)::BIGINT FROM rejected GROUP BY ALL"
    )
    assert [row[:7] for row in cells(page, "rejected")] == asked(path, rejected)
    operators = (
        "SELECT operator, sum(child_count * parent_width)::BIGINT FROM edges GROUP BY ALL ORDER BY ALL"
    )
    assert [[row[0], row[4]] for row in cells(page, "operators")] == asked(path, operators)
    ran = facts(page, "ran-facts")
    ((captured, devices),) = asked(
        path, "SELECT sum(count)::BIGINT, count(DISTINCT source) FROM events WHERE topic = 'glasses.captured'"
    )
    assert (ran["events captured"], ran["devices"]) == (captured, devices) == ("190", "2")
    assert ran["generations of the model"] == str(GENERATIONS)


def test_the_matrix_counts_what_was_decided(path: Path, page: str) -> None:
    drawing = page.rpartition('class="matrix"')[2].partition("</svg>")[0]
    told = {
        (zone, sink): sum(int(count.replace(",", "")) for count in re.findall(r"([\d,]+) [a-z]+", words))
        for zone, sink, words in re.findall(r"<title>(\S+) into (\S+): (.*?)</title>", drawing)
    }
    with leaving(path) as store:
        rows = store.sql("SELECT zone, sink, sum(count)::BIGINT AS n FROM decisions GROUP BY ALL").to_dicts()
    assert told == {(row["zone"], row["sink"]): row["n"] for row in rows}


def test_the_loop_and_the_reach_are_those_of_the_questions(path: Path, page: str) -> None:
    models = "SELECT source || '/' || stream || '/' || version, printf('%.4g', accuracy) FROM models"
    assert [[row[0], row[4]] for row in cells(page, "generations")] == sorted(asked(path, models))
    drawn = re.findall(r'class="node model', page.partition('class="loop"')[2].partition("</svg>")[0])
    assert len(drawn) == limits.REPORT_GENERATIONS_MAX
    left_out = GENERATIONS - limits.REPORT_GENERATIONS_MAX
    assert f"The {left_out} generations before these are not drawn" in page
    curves = re.findall(r'<svg[^>]* class="series".*?</svg>', page, re.S)
    assert [len(re.findall("<circle", each)) for each in curves] == [GENERATIONS, 0]
    with leaving(path) as store:
        for wearer, events, derived, examples, learned, answers, _, _ in cells(page, "reach"):
            reach = store.reach(wearer)
            assert int(events) == sum(reach.captured.values()) + {"w1": 7, "w2": 0}[wearer]
            assert (int(derived), int(examples)) == (sum(reach.derived.values()), reach.examples)
            assert (int(learned), int(answers)) == (len(reach.models), reach.answers)


def test_requirements_stand_as_they_are_asked(path: Path, page: str) -> None:
    with leaving(path) as store:
        rows = store.requirements().requirements
        single = store.requirement(REQUIREMENT)
    told = {row[0]: (row[2], row[5], row[6]) for row in cells(page, "requirements")}
    assert told == {
        row.requirement: (f"{row.concerned}", f"{row.violations}", f"{row.violations_last_day}")
        for row in rows
    }
    assert [row[0] for row in cells(page, "violations-0")] == [each.id for each in single.open_violations]


def test_a_refusal_says_what_would_change_it(page: str) -> None:
    text = html.unescape(page)
    # Two runs of examples were refused alike, but for the consent's number: one explanation is enough.
    assert text.count("Why training-run refused 5 events of public, such as g1/example/0") == 1
    assert text.count("What would change that training-run refused 5 events of public") == 2, "and its label"
    # What only a logging zone let through has one of its own.
    assert "Why processing refused 5 events of public" in text


def test_the_last_day_has_only_what_was_decided_then(path: Path, page: str) -> None:
    since_ns = T0_NS - HOUR_NS - 24 * HOUR_NS
    own = f"SELECT zone, (sum(count) FILTER (WHERE passed))::BIGINT, (sum(count) FILTER (WHERE NOT passed))::BIGINT FROM decisions WHERE {_AT} >= {since_ns} GROUP BY zone"  # noqa: E501
    assert [[row[0], row[3], row[5]] for row in cells(page, "recent-zones")] == asked(path, own)
    assert {(row[1], row[6]) for row in cells(page, "recent-decisions")} == {
        ("store", "40"),
        ("processing", "5"),
        ("training-run", "6"),
        ("training-run", "2"),
    }
    assert facts(page, "recent-facts")["stopped"] == "2"
    assert facts(page, "recent-facts")["models trained"] == "3"
    assert "of these 24 h" not in page


def test_alerts_that_stand_are_told(path: Path, page: str) -> None:
    """The sample's model was to be trained again before it was stored, and nobody publishes epochs."""
    told = cells(page, "alerts")
    assert [(row[0], row[3]) for row in told] == [
        ("model-overdue", f"training/intent-model/{GENERATIONS}"),
        ("no-epoch", ""),
    ]
    assert "Not judged: lag-growing (no broker is asked)." in page
    log = [orjson.loads(line) for line in (path / "reads.jsonl").read_bytes().splitlines()]
    assert {line["question"].partition(" --")[0] for line in log if line["exported"]} >= {"report"}
    assert "watch" not in {line["question"] for line in log}


def test_where_all_is_of_the_last_day_it_is_not_told_twice(path: Path, tmp_path: Path) -> None:
    report(path, tmp_path / "report.html", last="7 d", last_ns=7 * 24 * HOUR_NS)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Every decision of this store lies in these 7 d" in text
    assert not cells(text, "recent-decisions")
    assert len(re.findall('class="matrix"', text)) == 1


def test_policies_stand_with_their_texts(page: str) -> None:
    newest = page.partition(f'id="policy-{POLICY.version}-text"')[2].partition("</pre>")[0].partition(">")[2]
    assert html.unescape(newest) == POLICY.text
    before = page.partition(f'id="policy-{BEFORE.version}-text"')[2].partition("</pre>")[0]
    assert f"+name = &#34;{REQUIREMENT}&#34;" in before
    assert f'href="#policy-{POLICY.version}"' in page


@pytest.mark.parametrize("role", [OFFICER, "analyst", "wearer:w1"])
def test_nothing_of_what_a_role_may_not_take_out_is_in_the_file(tmp_path: Path, role: str) -> None:
    texts = []
    for path in pair_of(tmp_path):
        report(path, path.with_suffix(".html"), role)
        text = path.with_suffix(".html").read_text(encoding="utf-8")
        for word in ("g2/", "secret", ">w2<", "/imu/100", "9999999999999", "of nobody", str(tmp_path)):
            assert word not in text, word
        texts.append(text)
    # What is said of the record tells less where a stream is shown in part, and bands tell of what is hidden.
    alike = [
        re.sub(
            r"report made</dt>.*?</dl>|Not judged.*?</p>|\bwith(out)?\b|<tr><td><a href=.#integrity.*?</tr>"
            r"|Not everything.*?</p>|(?s:id=.integrity.*?<section class=.chapter)",
            "",
            text,
            flags=re.DOTALL,
        )
        for text in texts
    ]
    assert alike[0] == alike[1]


def test_a_report_needs_nothing_beside_it(page: str) -> None:
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert html.unescape(policy[1]) == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    body = page.replace(style, "").replace('xmlns="http://www.w3.org/2000/svg"', "").replace(policy[1], "")
    texts = re.sub(r"<pre.*?</pre>", "", body, flags=re.S)
    for word in ("<script", "://", " style=", "<form", "<img", '<link rel="stylesheet', " src="):
        assert word not in texts, word
    anchors = re.findall(r' id="([^"]*)"', page)
    assert len(anchors) == len(set(anchors)), sorted(each for each in anchors if anchors.count(each) > 1)
    links = set(re.findall(r'href="([^"]*)"', page)) - {"data:,"}
    assert {link[0] for link in links} == {"#"}
    assert {link[1:] for link in links} <= set(anchors)


def test_a_report_is_on_record_with_its_digest(tmp_path: Path) -> None:
    path = pair_of(tmp_path)[0]
    report(path, tmp_path / "report.html", "analyst", as_of="1")
    lines = [orjson.loads(line) for line in (path / "reads.jsonl").read_bytes().splitlines()]
    assert {(line["role"], line["exported"], line["epoch"]) for line in lines} == {("analyst", True, 1)}
    digest = xxhash.xxh3_128_hexdigest((tmp_path / "report.html").read_bytes())
    assert (lines[-1]["question"], lines[-1]["wrote"]) == (
        f"report --out {tmp_path / 'report.html'} --as-of 1",
        digest,
    )
    assert any(line["question"] == "ask missing --as-of 1" for line in lines)


def test_what_cannot_be_recorded_is_not_written(tmp_path: Path) -> None:
    path = pair_of(tmp_path)[0]
    (path / "reads.jsonl").mkdir()
    with pytest.raises(UnavailableError, match="what is not recorded is not shown"):
        report(path, tmp_path / "report.html")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("report")]


def test_a_file_is_replaced_only_when_told_to_and_only_by_a_whole_one(path: Path, tmp_path: Path) -> None:
    out, wanted = tmp_path / "report.html", Wanted(last="1 h", last_ns=HOUR_NS)
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="found something under this name"):
        report(path, out)

    def failing(content: bytes) -> bytes:
        raise UnavailableError(f"{len(content)} bytes are too many")

    role = Role.of(OFFICER)
    with pytest.raises(UnavailableError, match="are too many"):
        write_report(path, role, out, wanted, replacing=True, printed=failing, show=unmoved)
    assert out.read_text(encoding="utf-8") == "mine"
    write_report(path, role, out, wanted, replacing=True, printed=bytes, show=unmoved)
    assert "<h1>Report of lineage-store</h1>" in out.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_an_earlier_epoch_is_told_as_it_was(path: Path, tmp_path: Path) -> None:
    report(path, tmp_path / "report.html", as_of="1")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    # The second device came with the second epoch.
    assert facts(text, "ran-facts")["events captured"] == "140"
    assert [row[0] for row in cells(text, "reach")] == ["w1"]
    assert cells(text, "alerts") == []
    assert "Alerts are those of now" in text
    with pytest.raises(InputError, match="--as-of"):
        report(path, tmp_path / "other.html", as_of="7")


def test_what_is_left_out_is_counted(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPORT_WEARERS_MAX", 1)
    monkeypatch.setattr(limits, "REPORT_REFUSALS_MAX", 1)
    monkeypatch.setattr(limits, "REPORT_POLICIES_MAX", 1)
    monkeypatch.setattr(limits, "PAGE_ROWS_MAX", 2)
    report(path, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [row[0] for row in cells(text, "reach")] == ["w1"]
    assert "And 1 more rows" in text.partition('id="reach-table"')[2].partition("</section>")[0]
    assert "1 more kinds of refusal are not explained here" in text
    assert "1 earlier texts are left out" in text
    assert f"And {GENERATIONS - 2} more rows" in text


def test_the_ledger_is_told_in_bands_where_something_is_hidden(tmp_path: Path) -> None:
    wrong = Counted(
        findings=3, sent=190, stored=180, rejected=0, missing=10, twice=1, elsewhere=0, unknown_parents=0
    )
    hiding, without = made(tmp_path / "hiding"), made(tmp_path / "without", right())
    for path in (hiding, without):
        report(path, path.with_suffix(".html"), counted=wrong)
    (banded, exact) = (
        facts(path.with_suffix(".html").read_text(encoding="utf-8"), "ledger") for path in (hiding, without)
    )
    assert list(banded.values()) == ["not clean", "1-9", "100+", "100+", "0", "10-99", "1-9", "0", "0"]
    assert list(exact.values()) == ["not clean", "3", "190", "180", "0", "10", "1", "0", "0"]
