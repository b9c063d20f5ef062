"""What would change refusals, and who may decide each remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import to_builtins

from streams.errors import InputError
from streams.page.showing import Block, Cell, Facts, Notice, Table, verdict
from streams.page.showing import zone as zone_cell
from streams.policy.explain import Explanation, RequirementText, explain
from streams.policy.policy import Policy
from streams.policy.recheck import StoredPolicies
from streams.queries.answers import ToldDecision
from streams.queries.asking import OpenStore


def policies_of(store: OpenStore) -> StoredPolicies:
    """Return the policies whose text the store has."""
    rows = store.sql("SELECT version, text FROM policies WHERE text IS NOT NULL").to_dicts()
    return StoredPolicies({row["version"]: row["text"] for row in rows})


def refusals(
    store: OpenStore, decisions: Iterable[ToldDecision], told_as: Sequence[str] = ()
) -> tuple[tuple[Block, ...], list[Mapping[str, Any]]]:
    """Return blocks that explain each decision that is not *allow*, and the same as plain values.

    `told_as` has a clause for the headings of each of these decisions, or is empty: each then names its sink.
    """
    refused = [decision for decision in decisions if decision.verdict != "allow"]
    told_as = told_as or [f"{decision.sink} refused it" for decision in refused]
    if not refused:
        return (), []
    policies = policies_of(store)
    blocks: list[Block] = []
    plain: list[Mapping[str, Any]] = []
    for place, (decision, clause) in enumerate(zip(refused, told_as, strict=True)):
        try:
            policy = policies.version(decision.policy_version)
            why = explain(policy, decision.stored)
        except (InputError, ValueError, KeyError, IndexError):
            words = f"{decision.sink}: no policy in the store can explain this decision."
            blocks.append(Notice(words, "error"))
            continue
        remedies = list(_remedies(policy, why, decision.wearer))
        blocks += _explained(why, remedies, f"refused-{place}", clause)
        plain.append({**to_builtins(why), "remedies": [dict(remedy) for remedy in remedies]})
    return tuple(blocks), plain


def _explained(
    why: Explanation, remedies: Iterable[Mapping[str, str]], name: str, clause: str
) -> Iterator[Block]:
    matched = why.matched
    pairs = {
        "verdict": verdict(why.verdict, passed=why.passed),
        "rule": Cell(why.rule),
        "purpose": Cell(why.purpose),
        "zone": zone_cell(why.zone),
        "the zone's condition": Cell(why.condition if isinstance(why.condition, str) else ""),
        "because": Cell(why.because if isinstance(why.because, str) else ""),
        "attributes": Cell(
            matched
            if isinstance(matched, str)
            else ", ".join(
                f"{attribute} = {str(value).lower() if isinstance(value, bool) else value}"
                for attribute, value in matched.items()
            )
        ),
        "consent": Cell(why.consent),
        "policy": Cell(why.policy, css="id"),
        "the sink is": Cell(why.sink_is),
    }
    if isinstance(why.requirement, RequirementText):
        pairs |= {"requirement": Cell(f"{why.requirement.about}: {why.requirement.require}")}
    yield Facts(name, f"Why {clause}", tuple((key, cell) for key, cell in pairs.items() if cell.text))
    yield Table(
        f"{name}-remedies",
        f"What would change that {clause}",
        ("remedy", "who may decide"),
        tuple((Cell(remedy["remedy"]), Cell(remedy["who"])) for remedy in remedies),
        none="Nothing would.",
    )


def _remedies(policy: Policy, why: Explanation, wearer: str) -> Iterator[Mapping[str, str]]:
    """Each way in which the decision would have come out otherwise, and who may decide it."""
    owners = (
        ", ".join(sorted({each.owner for each in policy.declassifiers.values()})) or "who owns the policy"
    )
    for sentence in why.would_change_it:
        head = sentence.partition(":")[0]
        if head.startswith("with consent") or head == "consent":
            who = f"the wearer {wearer}" if wearer else "the wearer"
        elif head == "declassify":
            who = owners
        elif head in {"label", "label the sink", "block"}:
            who = "who publishes the policy"
        elif head == "nothing":
            who = "nobody"
        else:
            who = "nobody afterwards: it was so when it was captured"
        yield {"remedy": sentence, "who": who}
