"""Bounds on the cost of a policy's text, checked in one pass before a parser of another library reads it.

Parsers recurse once for each bracket, and a condition evaluates what is within `.all()` or `.exists()` once
for each member of the list. Both are counted from the text alone, so every machine refuses the same policies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from streams import limits
from streams.errors import MalformedError

#: Loops of a condition: what is in their brackets is evaluated once for each member of a list.
LOOPS = frozenset({"all", "exists", "exists_one"})
#: All other functions that a condition may call.
CALLS = frozenset({"contains", "endsWith", "size", "startsWith"})

# No alternative backtracks (its quantifiers are possessive), so one pass suffices for any text.
_TOML = re.compile(
    r"""
    (?P<blank>[ \t\r]++ | \#[^\n]*+)
    | (?P<line>\n)
    | (?P<text>
        \"{3}(?:[^"\\]|\\.|"{1,2}+(?!"))*+"{3,5}+
        | '{3}(?:[^']|'{1,2}+(?!'))*+'{3,5}+
        | "(?!"")(?:[^"\\\n]|\\[^\n])*+"
        | '(?!'')[^'\n]*+'
      )
    | (?P<open>[\[{]) | (?P<close>[\]}])
    | (?P<dot>\.) | (?P<sign>[=,])
    | (?P<word>[^ \t\r\n\#"'\[\]{}.=,]++)
    """,
    re.VERBOSE | re.DOTALL,
)
_CONDITION = re.compile(
    r"""
    (?P<blank>[ ]++)
    | (?P<text>"[^"\\\n]*+"(?!["'])|'[^'\\\n]*+'(?!["']))
    | (?P<open>[(\[]) | (?P<close>[)\]])
    | (?P<comma>,) | (?P<dot>\.)
    | (?P<sign>&&|\|\||[=!<>]=|[!<>?:])
    | (?P<number>-?[0-9]++(?:\.[0-9]++)?)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*+)
    """,
    re.VERBOSE,
)


def check_toml(text: str) -> None:
    """MalformedError with the line at which TOML is nested too deeply or has too many tokens.

    Also for a text without closing quotes, because what follows could not be counted.
    """
    line, at, tokens, depth, dots = 1, 0, 0, 0, 0
    while at < len(text):
        token = _TOML.match(text, at)
        if token is None:
            raise MalformedError(f"line {line}: found a text without its end, expected its closing quotes")
        at, kind = token.end(), token.lastgroup
        if kind == "blank":
            continue
        tokens += kind != "line"
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(depth - 1, 0)
        if kind == "dot":
            dots += 1
        elif kind not in {"word", "text"}:
            dots = 0
        deepest = max(depth, dots + 1)
        if deepest > limits.POLICY_DEPTH_MAX:
            raise MalformedError(
                f"line {line}: found brackets, or parts of a name, {deepest} deep, expected at most"
                f" {limits.POLICY_DEPTH_MAX}"
            )
        if tokens > limits.POLICY_TOKENS_MAX:
            raise MalformedError(
                f"line {line}: found more than {limits.POLICY_TOKENS_MAX} words, texts and signs up to here,"
                " expected a shorter policy; take apart what is in it"
            )
        line += token[0].count("\n")


def steps_of(condition: str) -> int:
    """Number of tokens that a condition evaluates for one event in the worst case.

    MalformedError if that, or its length, depth or lists exceed their bounds, or if it contains what
    conditions do not use: arithmetic, patterns, escapes, comments, calls not in `LOOPS` or `CALLS`.
    """
    steps, times, before = 0, 1, ("", "")
    #: For each open bracket, how often the text around it is evaluated, and how many members it has so far.
    within: list[tuple[int, int]] = []
    for tokens, (kind, word) in enumerate(_tokens(condition), 1):
        steps += times
        if kind == "open":
            within.append((times, 1))
            times *= _looks(before) if word == "(" else 1
        elif kind == "close" and within:
            times = within.pop()[0]
        elif kind == "comma" and within:
            within[-1] = (within[-1][0], within[-1][1] + 1)
        before = kind, word
        for many, named, most in (
            (tokens, "words, texts and signs", limits.CONDITION_TOKENS_MAX),
            (len(within), "brackets within one another", limits.CONDITION_DEPTH_MAX),
            (within[-1][1] if within else 0, "members in a list", limits.CONDITION_LIST_MAX),
            (steps, "steps for one event, what is looped over counted again", limits.CONDITION_STEPS_MAX),
        ):
            if many > most:
                raise MalformedError(f"it has more than {most} {named}")
    return steps


def _tokens(condition: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each token."""
    if len(condition) > limits.CONDITION_CHARACTERS_MAX:
        raise MalformedError(
            f"it has {len(condition)} characters, expected at most {limits.CONDITION_CHARACTERS_MAX}"
        )
    at = 0
    while at < len(condition):
        token = _CONDITION.match(condition, at)
        if token is None:
            raise MalformedError(
                f"character {at + 1} begins what conditions do not hold, expected names, texts without"
                " escapes, numbers, comparisons, &&, ||, !, in, ?:, lists and brackets"
            )
        if token.lastgroup != "blank":
            yield str(token.lastgroup), token[0]
        at = token.end()


def _looks(before: tuple[str, str]) -> int:
    """How often the content of round brackets is evaluated, which depends on the token before them."""
    kind, word = before
    if kind != "word" or word == "in":
        return 1
    if word not in LOOPS | CALLS:
        raise MalformedError(
            f"it calls what conditions do not, expected one of {', '.join(sorted(LOOPS | CALLS))}"
        )
    return limits.CONDITION_LIST_MAX if word in LOOPS else 1
