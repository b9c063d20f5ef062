"""Who answers for a policy, how to reach them and under which law: said in a table, and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.cli.main import main
from streams.errors import InputError
from streams.policy.load import load, parse
from streams.policy.notice import NOBODY, notice_of
from streams.policy.policy import Policy
from streams.policy.rules import Owner

TEXT = load("household").text
TABLE = '[owner]\nname = "Home & Söhne GmbH"\ncontact = "privacy@example.org"\njurisdiction = "DE"\n'


def owned(table: str) -> Policy:
    """The policy of the demo with a table behind its other ones."""
    return parse(f"{TEXT}\n{table}", "household")


def test_a_table_says_name_contact_and_jurisdiction_and_a_plain_owner_only_who() -> None:
    assert owned(TABLE).owner == Owner("Home & Söhne GmbH", "privacy@example.org", "DE")
    assert owned(TABLE).owner.says == "Home & Söhne GmbH, privacy@example.org, DE"
    plain = parse(TEXT.replace('name = "household"', 'name = "household"\nowner = "dpo@household"'), "p")
    assert (plain.owner, plain.owner.says) == (Owner("dpo@household"), "dpo@household")
    assert load("household").owner.says == ""


@pytest.mark.parametrize("contact", ["a@b", "https://example.org/privacy", "+49 (30) 123-456"])
@pytest.mark.parametrize("jurisdiction", ["EU", "NL", "US"])
def test_every_contact_and_jurisdiction_of_these_forms_is_taken(contact: str, jurisdiction: str) -> None:
    table = f'[owner]\nname = "x"\ncontact = "{contact}"\njurisdiction = "{jurisdiction}"\n'
    assert owned(table).owner == Owner("x", contact, jurisdiction)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"DE"', '"XX"', "'XX' is no jurisdiction, expected a country by ISO 3166-1, or EU"),
        ('"DE"', '"de"', "'de' is no jurisdiction"),
        ('"DE"', '""', "is no jurisdiction"),
        ('"DE"', "1", "'jurisdiction' of the table owner is int, expected str"),
        ("privacy@example.org", "somewhere", "'somewhere' is no contact, expected an address"),
        ("privacy@example.org", "http://example.org", "is no contact"),
        ("privacy@example.org", "", "'contact' of the table owner has 0 characters, expected 1 to 200"),
        ("Home & Söhne GmbH", "x" * 201, "'name' of the table owner has 201 characters"),
        ("Home & Söhne GmbH", " ", "'name' of the table owner has 1 characters"),
        ('contact = "privacy@example.org"\n', "", "'owner' lacks the field 'contact'"),
        ("jurisdiction =", "law =", "'law' is not a field of the table owner"),
    ],
)
def test_what_is_wrong_in_it_is_said(before: str, after: str, said: str) -> None:
    assert before in TABLE
    with pytest.raises(InputError) as refused:
        owned(TABLE.replace(before, after))
    assert said in str(refused.value)


def test_a_name_of_several_words_stands_in_a_file_and_one_with_signs_that_nobody_sees_does_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{TEXT}\n{TABLE}", encoding="utf-8")
    assert load(str(path)).owner.name == "Home & Söhne GmbH"
    path.write_text(TEXT + TABLE.replace("Home &", "Home\\u202e"), encoding="utf-8")
    with pytest.raises(InputError, match="without control characters"):
        load(str(path))


def test_the_notice_names_the_contact_and_is_another_one_when_that_changes() -> None:
    mine, moved = owned(TABLE), owned(TABLE.replace("privacy@", "dpo@"))
    assert notice_of(mine).controller == "Home & Söhne GmbH, privacy@example.org, DE"
    assert notice_of(mine).version != notice_of(moved).version


def test_commands_show_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{TEXT}\n{TABLE}", encoding="utf-8")

    def shown(*words: str) -> str:
        result = CliRunner().invoke(main, ["policy", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert TABLE in shown("show", str(path))
    assert json.loads(shown("check", str(path), "--json"))["owner"] == owned(TABLE).owner.says
    assert json.loads(shown("check", "household", "--json"))["owner"] == NOBODY
    assert f"controller  {owned(TABLE).owner.says}" in shown("notice", str(path))
