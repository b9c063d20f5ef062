"""The cost of a policy's text is bounded before it is parsed, and so is the work of checking it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams import limits
from streams.errors import InputError, MalformedError
from streams.policy import bounds
from streams.policy.condition import Condition
from streams.policy.load import load, parse
from streams.policy.policy import Policy
from streams.policy.source import bundle, find, shipped_names
from tests import build

HOUSEHOLD = bundle(find("household"))
#: The test policies and the shipped ones are below each bound by at least this factor.
ROOM = 6


def requiring(when: str) -> str:
    """The household's policy with one more requirement."""
    return HOUSEHOLD.replace(
        "[[declassifiers]]",
        f'[[requirements]]\nname = "bomb"\nabout = "x"\nwhen = "{when}"\n'
        "require = \"purpose != 'ai:ModelTraining'\"\n\n[[declassifiers]]",
        1,
    )


def nested(times: int, of: str = "categories") -> str:
    inner = "true"
    for name in (
        ("zone", "sink", "nature", "region")[:times] if times <= 4 else map("v{}".format, range(times))
    ):
        inner = f"{of}.all({name}, {inner})"
    return inner


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("(" * 50_000 + "true" + ")" * 50_000, "it has 100004 characters, expected at most 2000"),
        ("(" * 900 + "true" + ")" * 900, "it has more than 16 brackets within one another"),
        ("!" * 1900 + "true", "it has more than 256 words, texts and signs"),
        (" || ".join(["'pd:Health' in categories"] * 65), "it has more than 256 words, texts and signs"),
        (nested(100), "it has 2"),
        (nested(4), "it has more than 32768 steps for one event"),
        (nested(3), "it has more than 32768 steps for one event"),
        (nested(20, "[1,2,3,4,5,6,7,8,9]"), "it has more than 256 words|steps"),
        (f"sink in [{','.join(['sink'] * 65)}]", "it has more than 64 members in a list"),
        ("sink.matches('(a*)*b')", "it calls what conditions do not"),
        ("categories.map(zone, zone).size() > 0", "it calls what conditions do not"),
        ("size('a' + 'a') > 3", "character 10 begins what conditions do not hold"),
        ("'''(((''' == sink", "character 1 begins what conditions do not hold"),
        ("true // ((((", "character 6 begins what conditions do not hold"),
        (r"'\\' == sink", "character 1 begins what conditions do not hold"),
    ],
)
def test_a_condition_is_bounded_before_cel_sees_it(
    when: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    text = requiring(when)
    monkeypatch.setattr("streams.policy.condition.cel.compile", seen.append)
    with pytest.raises(MalformedError, match=says):
        Condition(when.replace(r"\\", "\\"))
    assert not seen
    monkeypatch.undo()
    with pytest.raises(
        InputError, match=rf"^mine(, line \d+)?: '.*' is not a CEL condition \(.*{says}"
    ) as found:
        parse(text, "mine")
    assert len(str(found.value)) < 600


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = " + "[" * 100_000, "line 1: found brackets, or parts of a name, 9 deep, expected at most 8"),
        ("x = " + "{a=" * 20_000, "line 1: found brackets, or parts of a name, 9 deep"),
        ("\n\nx" + ".x" * 50_000 + " = 1", "line 3: found brackets, or parts of a name, 9 deep"),
        ("[x" + ".x" * 50_000 + "]", "line 1: found brackets, or parts of a name, 9 deep"),
        ("x = [" + "1," * 40_000 + "]", "line 1: found more than 65536 words, texts and signs"),
        ("x = 1\n" * 25_000, r"line \d+: found more than 65536 words, texts and signs"),
        ('a = "b\nx = ' + "[" * 1000, "line 1: found a text without its end"),
        ("x = '''" + "[" * 1000, "line 1: found a text without its end"),
        ("#" * (limits.POLICY_BYTES_MAX + 1), "found more than 262144 bytes"),
    ],
    ids=range(9),
)
def test_a_text_is_bounded_before_toml_is_read(text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("streams.policy.source.tomllib.loads", seen.append)
    with pytest.raises(InputError, match=f"^mine.{{0,2}}{says}"):
        parse(text, "mine")
    assert not seen


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=-1)


BITS = st.sampled_from(
    [
        *"\"'\\#\n[]{}.=,a1 ",
        '"""',
        "'''",
        '""',
        "''",
        "a = ",
        "[a]\n",
        "[[a]]\n",
        '"["',
        "'['",
        '"\\""',
        "# [\n",
    ]
)


@given(st.lists(BITS, max_size=40).map("".join))
@example('a = """["""" \nb = [[[[[[[[1]]]]]]]]')
@example("a = ''''[''''\nb = 1")
@example('a = "\\\\" # "\nb = [[1]]')
def test_what_toml_reads_is_no_deeper_than_was_counted(text: str) -> None:
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "POLICY_DEPTH_MAX", 2)
        try:
            bounds.check_toml(text)
        except MalformedError:
            return
    # A table's header, a key in it and brackets in its value can each reach the depth, and [[...]] is a list.
    assert depth_of(fields) <= 3 * 2 + 1


@pytest.mark.parametrize("what", ["zones", "sinks", "requirements", "tests"])
def test_tables_are_counted(what: str) -> None:
    table = HOUSEHOLD[HOUSEHOLD.index(f"[[{what}]]") :].split("\n\n")[0]
    if what == "requirements":
        table = '[[requirements]]\nname = "r"\nabout = "x"\nwhen = "true"\nrequire = "true"'
    many = {"tests": limits.POLICY_EXAMPLES_MAX, "requirements": limits.POLICY_REQUIREMENTS_MAX}.get(what, 64)
    more = "\n\n".join(table.replace('name = "', f'name = "n{at}-') for at in range(many + 1))
    with pytest.raises(InputError, match=rf"'{what}' holds more than \d+, expected fewer; take some out"):
        parse(f"{HOUSEHOLD}\n{more}", "mine")


def test_what_is_tried_out_is_counted() -> None:
    """Zones with many different streams: none of them is wrong, but their combinations multiply."""
    zone = HOUSEHOLD[HOUSEHOLD.index("[[zones]]") :].split("\n\n")[0]
    more = [
        zone.replace('"rights"', f'"r{at}"')
        .replace("rank = 70", f"rank = {100 + at}")
        .replace(
            "kind == 'consent_change' || kind == 'erasure_request'",
            "worn && minor_near && capture_light && consent_given && place == 'home' && "
            "people_near == 'nobody' && kind == 'imu' && "
            + "stream in ['"
            + "', '".join(f"s{at}-{one}" for one in range(40))
            + "']",
        )
        for at in range(50)
    ]
    with pytest.raises(InputError, match="trying out the policy takes more than 2000000 steps"):
        parse("\n\n".join([HOUSEHOLD, *more]), "mine")


def test_all_conditions_together_are_bounded() -> None:
    loops = [
        f'[[requirements]]\nname = "r{at}"\nabout = "x"\nwhen = "{nested(2)}"\nrequire = "true"'
        for at in range(10)
    ]
    with pytest.raises(InputError, match="steps together for one event, expected at most 100000"):
        parse("\n\n".join([HOUSEHOLD, *loops]), "mine")


def counted(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How much of each bounded resource a policy uses, by name of the bound."""
    spent: list[int] = []
    monkeypatch.setattr("streams.policy.analysis.Tried.count", lambda _self, steps, *_: spent.append(steps))
    parse(policy.text, "mine")
    conditions = [zone.condition for zone in policy.zones]
    for one in policy.requirements:
        conditions += [one.require] if one.when is None else [one.when, one.require]
    return {
        "POLICY_BYTES_MAX": len(policy.text.encode()),
        "POLICY_TOKENS_MAX": sum(
            one.lastgroup not in {"blank", "line"} for one in bounds._TOML.finditer(policy.text)
        ),
        "POLICY_ZONES_MAX": len(policy.zones),
        "POLICY_REQUIREMENTS_MAX": len(policy.requirements),
        "POLICY_EXAMPLES_MAX": len(policy.examples),
        "CONDITION_CHARACTERS_MAX": max(len(one.text) for one in conditions),
        "CONDITION_TOKENS_MAX": max(len(list(bounds._tokens(one.text))) for one in conditions),
        "CONDITION_STEPS_MAX": max(one.steps for one in conditions),
        "POLICY_STEPS_MAX": sum(one.steps for one in conditions),
        "POLICY_CHECK_STEPS_MAX": sum(spent),
    }


@pytest.mark.parametrize("make", [*(lambda name=name: load(name) for name in shipped_names()), build.policy])
def test_shipped_and_test_policies_stay_far_inside(
    make: Callable[[], Policy], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, found in counted(make(), monkeypatch).items():
        assert ROOM * found <= getattr(limits, name), (name, found)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("retention_days > 30 && !(risk in ['low', 'high'])", 14),
        ("nature == 'derived' ? size(subjects) < 2 : true", 12),
        ("categories.exists(zone, zone.startsWith('pd:'))", 4 + 64 * 9),
        ("categories.exists(zone, subjects.all(sink, zone == sink))", 4 + 64 * 6 + 64 * 64 * 6 + 64),
    ],
)
def test_what_is_within_a_loop_counts_once_a_member(text: str, steps: int) -> None:
    assert Condition(text).steps == steps


class _Panic(BaseException):
    """Stands for a panic of a library, which is no Exception."""


def test_a_panic_of_the_library_is_an_error_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(_text: str) -> None:
        raise _Panic

    monkeypatch.setattr("streams.policy.condition.cel.compile", panic)
    with pytest.raises(InputError, match="the reader of CEL fails on it: _Panic"):
        parse(HOUSEHOLD, "mine")
    monkeypatch.undo()
    monkeypatch.setattr("streams.policy.source.tomllib.loads", panic)
    with pytest.raises(InputError, match=r"the reader of TOML fails on \(_Panic\), expected TOML"):
        parse(HOUSEHOLD, "mine")


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_who_wants_an_end_is_heard(end: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_text: str) -> None:
        raise end

    monkeypatch.setattr("streams.policy.condition.cel.compile", ended)
    with pytest.raises(end):
        parse(HOUSEHOLD, "mine")
