"""Names with lookalike letters and texts with control characters are refused, with file, line and word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.errors import InputError
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.source import POLICIES, bundle

HOUSEHOLD = bundle(POLICIES / "household.toml")
CYRILLIC, ESCAPED = "h\u0435alth", r"h\u0435alth"


def read(text: str, tmp_path: Path) -> Policy:
    """Load a policy file with this text; errors name the file `mine`."""
    path = tmp_path / "mine"
    path.write_text(text, encoding="utf-8")
    try:
        return load(str(path))
    except InputError as error:
        raise InputError(str(error).replace(f"{tmp_path}/", "")) from None


@pytest.mark.parametrize("written", [CYRILLIC, ESCAPED], ids=["as it is", "escaped"])
@pytest.mark.parametrize(
    "right",
    ['name = "household"', 'name = "health"', 'name = "ask:analyst"', 'name = "model-training"'],
)
def test_a_name_with_a_letter_that_looks_like_another_one_is_refused(
    right: str, written: str, tmp_path: Path
) -> None:
    assert right in HOUSEHOLD
    wrong = HOUSEHOLD.replace(right, f'name = "{written}"', 1)
    with pytest.raises(InputError) as caught:
        read(wrong, tmp_path)
    behind = wrong.partition("#=== file household.toml\n")[2]
    line = next(n for n, text in enumerate(behind.split("\n"), 1) if written in text)
    assert str(caught.value) == (
        f"mine, line {line}: 'h\\u0435alth' is no name,"
        " expected ASCII letters, digits, '-', '_', '.' and ':' only"
    )


@pytest.mark.parametrize(
    ("right", "wrong", "shown"),
    [
        ('name = "bystanders-are-only-answered-about"', 'name = "bystanders are"', "'bystanders are'"),
        ('name = "bystanders-are-only-answered-about"', 'name = ""', "''"),
        ('name = "health"', r'name = "health\u001b[2J"', r"'health\x1b[2J'"),
        ('name = "health"', r'name = "hea\u200blth"', r"'hea\u200blth'"),
        ('regions = ["household", "eu"]\n\n', 'regions = ["household", "\u0435u"]\n\n', r"'\u0435u'"),
        ("half-year = 182", '"half\u2010year" = 182', r"'half\u2010year'"),
        ('"local:Gait" = "Head', '"local:G\u0430it" = "Head', r"'local:G\u0430it'"),
        ('"local:Gait", "pd:GPS', '"local:G\u0430it", "pd:GPS', r"'local:G\u0430it'"),
        ("restricted = true", '"r\u0435stricted" = true', r"'r\u0435stricted'"),
        ('categories = ["pd:Household"]', 'categories = ["pd:Hous\u0435hold"]', r"'pd:Hous\u0435hold'"),
    ],
)
def test_every_name_is_looked_at(right: str, wrong: str, shown: str, tmp_path: Path) -> None:
    assert right in HOUSEHOLD
    with pytest.raises(InputError, match=rf"line \d+: {re.escape(shown)} is no name, expected ASCII letters"):
        read(HOUSEHOLD.replace(right, wrong, 1), tmp_path)


@pytest.mark.parametrize(
    ("field", "written", "shown"),
    [
        ("reason", r"all\u001b[2J is well", r"'\x1b'"),
        ("reason", r"one line\nand another", r"'\n'"),
        ("reason", "all is \u202ellew", r"'\u202e'"),
        ("reason", r"a\u007fb", r"'\x7f'"),
        ("about", r"a\u0085b", r"'\x85'"),
        ("evidence", r"a\tb", r"'\t'"),
        ("owner", r"a\rb", r"'\r'"),
        ("when", "stream == 'imu-r\u0456ght'", r"'\u0456'"),
        ("require", r"purpose != 'a'\n", r"'\n'"),
    ],
)
def test_a_text_holds_nothing_that_does_not_print(
    field: str, written: str, shown: str, tmp_path: Path
) -> None:
    main = HOUSEHOLD.index("#=== file household.toml")
    wrong = HOUSEHOLD[:main] + re.sub(
        rf'^{field} = ".*"$',
        lambda _: f'{field} = "{written}"',
        HOUSEHOLD[main:],
        count=1,
        flags=re.MULTILINE,
    )
    with pytest.raises(InputError) as caught:
        read(wrong, tmp_path)
    assert re.fullmatch(
        rf"mine, line \d+: '{field}' of [\w :-]+ holds {re.escape(shown)}, expected one line of (ASCII )?text"
        r" without control characters",
        str(caught.value),
    )


def test_what_is_no_name_may_be_in_any_language(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (POLICIES / "household.toml").read_text(encoding="utf-8")
    path.write_text(
        re.sub(
            r'^about = ".*"$',
            'about = "Ein Haushalt: Überblick für alle, 家"',
            text,
            count=1,
            flags=re.MULTILINE,
        ),
        encoding="utf-8",
    )
    assert load(str(path)).name == "household"


def test_what_was_published_before_is_read_as_it_is() -> None:
    """An upgrade must not end a policy in force, and every store must be able to read its policies."""
    text = HOUSEHOLD.replace('name = "bystanders-are-only-answered-about"', f'name = "{CYRILLIC}"', 1)
    text = re.sub(r'^reason = ".*"$', r'reason = "two\\nlines"', text, count=1, flags=re.MULTILINE)
    policy = parse(text, "glasses.policies")
    assert CYRILLIC in {one.name for one in policy.requirements}
    assert policy.zones[0].reason == "two\nlines"
