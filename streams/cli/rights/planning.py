"""What `sightline rights erase --dry-run` says: what would go, where, and what would not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.cli.output import emit_facts, emit_json, emit_table
from streams.consent.erased import Scope
from streams.events.headers import rfc3339
from streams.limits import TIME_NS_MAX
from streams.printing import say
from streams.worker.erasure import Plan
from streams.worker.erasure_receipt import text_of

#: What an erasure of a place does not do.
_LEFT = (
    "no consent is withdrawn: what was captured elsewhere is used as before",
    "values that are unreadable with them are of elsewhere, under the same keys: those of a day",
    "what this wearer's other devices captured in the same times goes too, wherever they were",
    "what the wearer decided about the own data there stays",
    "glasses.captured and glasses.zoned keep it for 24 h, glasses.derived and glasses.answers for 7 days; "
    "what is sealed of it is unreadable at once",
    "a batch in which the place changed, but not the zone, is of the place at which it began",
)


def say_plan(plan: Plan, wearer: str, scope: Scope, rows: Mapping[str, int], *, as_json: bool) -> None:
    """Print a plan; `rows` of the store by table are known of a place alone."""
    facts: dict[str, object] = {
        "wearer": wearer,
        **({"scope": text_of(scope)} if scope.place else {}),
        "devices": " ".join(plan.devices) or "none",
        "keys": plan.keys,
        **_examples(plan, scope),
        "model versions that learned from it": " ".join(map(str, plan.versions)) or "none",
        "serves": plan.serving,
        "would serve": plan.would_serve or "none",
    }
    stays = [(rfc3339(first), _until(last)) for first, last in scope.spans]
    if as_json:
        of_place: dict[str, object] = {"stays": stays, "rows": rows, "stays_as_it_is": _LEFT}
        named = {key.replace(" ", "_"): value for key, value in facts.items()}
        emit_json({**named, **(of_place if scope.place else {})})
        return
    emit_facts(facts)
    if scope.place:
        _say_table("stays", ("from", "until"), stays)
        _say_table("rows of the store that go, or a part of them", ("table", "rows"), [*rows.items()])
        say()
        for each in _LEFT:
            say(each)
    say()
    say(f"nothing was changed; `sightline ask reach {wearer}` tells what was made of it")


def _examples(plan: Plan, scope: Scope) -> Mapping[str, object]:
    """Of a place: what its keys seal."""
    if not scope.place:
        return {}
    made = plan.made
    return {
        "examples made there": len(made.examples),
        "values unreadable with them": made.beside,
    }


def _until(at_ns: int) -> str:
    """The end of a stay; one that has none yet ends with the erasure."""
    return "now" if at_ns >= TIME_NS_MAX else rfc3339(at_ns)


def _say_table(title: str, columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        say()
        say(title)
        emit_table(columns, rows)
