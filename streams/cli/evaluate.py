"""`sightline evaluate`: what the loop is worth, on utterances that no version learned from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click
from msgspec import to_builtins

from device_sim.draw import DRAWS, Draw
from streams import clock, logs
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option
from streams.evaluation.gate import EQUAL_SHARE_MAX, GateFigures, gate_figures
from streams.evaluation.influence import Effect, Influence, followed
from streams.evaluation.measure import F1_MIN, GAIN_POINTS_MIN, UTTERANCES_MIN, Curve, curve, drawn
from streams.evaluation.poison import ATTACKS, POINTS_LOST_MAX, PoisonFigures, poisoned
from streams.extras import require
from streams.policy.load import load
from streams.policy.policy import Policy
from streams.printing import say

EVERY = 48
#: The loop itself, candidates at the gate of promotion, attacks, versions without one wearer.
PARTS = ("loop", "gate", "attacks", "influence")


@click.command("evaluate")
@click.option(
    "--draw",
    "numbers",
    multiple=True,
    type=click.Choice([str(number) for number in DRAWS]),
    help="This draw alone; may be repeated.  [default: all]",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=EVERY,
    show_default=True,
    help="Train after so many admitted examples.",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(PARTS),
    help="This part alone; may be repeated.  [default: all]",
)
@json_option
@click.pass_context
def command(
    context: click.Context, numbers: tuple[str, ...], every: int, parts: tuple[str, ...], *, as_json: bool
) -> None:
    """Let a simulated household use the loop, and measure every model version on utterances never used.

    Which utterances are the seed, the validation set, the test and the queries is drawn blind; each draw is
    played from an empty store without a broker, so that it gives the same figures on every run. Then bad and
    equally good candidates are shown to the gate of promotion, one more device attacks the loop in several
    ways, and versions are fitted again without one wearer. Takes some minutes. Exits with 1 unless every draw
    meets the bars.
    """
    require("worker")
    policy = load("household", clock.date_today())
    draws = drawn([int(number) for number in numbers] or list(DRAWS))
    with logs.silenced("streams.pipeline"):
        evaluated = [_evaluated(each, policy, every, parts or PARTS) for each in draws]
    if as_json:
        emit_json({"draws": [each.plain() for each in evaluated]})
    else:
        _show(evaluated)
    context.exit(0 if all(each.holds for each in evaluated) else 1)


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """What is measured on one draw; parts that were not asked for are empty."""

    curve: Curve
    gate: GateFigures | None = None
    attacks: Sequence[PoisonFigures] = ()
    influences: Sequence[Influence] = ()
    effects: Sequence[Effect] = ()

    @property
    def holds(self) -> bool:
        """Whether every bar is met."""
        return all(
            (
                self.curve.holds,
                self.gate is None or self.gate.holds,
                *(attack.holds for attack in self.attacks),
                *(influence.holds for influence in self.influences),
            )
        )

    def plain(self) -> dict[str, object]:
        """As JSON."""
        curve = self.curve
        return {
            "draw": curve.draw,
            "first": curve.turns[0].f1,
            "last": curve.last.f1,
            "gain_points": curve.gain_points,
            "holds": curve.holds,
            "turns": to_builtins(curve.turns),
            **({"promotion": _gated(self.gate)} if self.gate is not None else {}),
            **({"attacks": list(map(_attacked, self.attacks))} if self.attacks else {}),
            **({"influence": list(map(_influenced, self.influences))} if self.influences else {}),
            **({"effects": to_builtins(self.effects)} if self.effects else {}),
        }


def _evaluated(drawing: Draw, policy: Policy, every: int, parts: Sequence[str]) -> _Evaluated:
    number = drawing.number
    say(f"draw {number}: the household alone", err=True)
    alone = asyncio.run(curve(drawing, policy, every))
    gate, attacks, influences, effects = None, list[PoisonFigures](), list[Influence](), list[Effect]()
    if "gate" in parts:
        say(f"draw {number}: candidates at the gate of promotion", err=True)
        gate = gate_figures(drawing)
    for attack in ATTACKS if "attacks" in parts else ():
        say(f"draw {number}: attack {attack.name}", err=True)
        attacks.append(asyncio.run(poisoned(drawing, attack, policy, every, alone)))
    if "influence" in parts:
        say(f"draw {number}: versions without one wearer", err=True)
        influences, effects = asyncio.run(followed(drawing, policy, every))
    return _Evaluated(alone, gate, attacks, influences, effects)


def _gated(gate: GateFigures) -> dict[str, object]:
    return {**to_builtins(gate), "holds": gate.holds}


def _attacked(attack: PoisonFigures) -> dict[str, object]:
    return {**to_builtins(attack), "points_lost": attack.points_lost, "holds": attack.holds}


def _influenced(influence: Influence) -> dict[str, object]:
    return {**to_builtins(influence), "precision": influence.precision, "holds": influence.holds}


def _show(evaluated: Sequence[_Evaluated]) -> None:
    for each in evaluated:
        emit_rows([to_builtins(turn) for turn in each.curve.turns])
        say("")
    emit_facts({f"draw {each.curve.draw}": _summary(each.curve) for each in evaluated})
    say(
        f"The bar: macro F1 over intents with at least {UTTERANCES_MIN} utterances in the test is at least "
        f"{F1_MIN:.2f} at the last version, and at least {GAIN_POINTS_MIN:g} points above the first."
    )
    _say_part(
        [_gated(each.gate) for each in evaluated if each.gate is not None],
        "The bar: every candidate with shuffled labels is declined, and at most "
        f"{EQUAL_SHARE_MAX:.0%} of the equal ones; none for those that are refitted on other examples.",
    )
    _say_part(
        [
            {**_attacked(attack), "named": ", ".join(attack.named)}
            for each in evaluated
            for attack in each.attacks
        ],
        f"The bar: an attack costs at most {POINTS_LOST_MAX:g} points of macro F1, and a check names it.",
    )
    _say_part(
        [_influenced(influence) for each in evaluated for influence in each.influences],
        "Versions were fitted again without a wearer, and asked the same. The bar: what lineage reaches from "
        "the wearer contains every answer that changes.",
    )
    _say_part(
        [to_builtins(effect) for each in evaluated for effect in each.effects],
        "Of the first examples: the version that learned first, and the first answer that each changed.",
    )


def _say_part(rows: Sequence[Mapping[str, object]], sentence: str) -> None:
    """Print a table and a sentence about it, unless that part was not asked for."""
    if rows:
        say("")
        emit_rows(rows)
        say(sentence)


def _summary(each: Curve) -> str:
    first, last = each.turns[0], each.last
    return (
        f"macro F1 {first.f1:.3f} of version {first.version}, {last.f1:.3f} of version {last.version}: "
        f"{each.gain_points:+.1f} points; {'holds' if each.holds else 'missed'}"
    )
