"""`sightline evaluate`: what the loop is worth, on utterances that no version learned from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

import click
from msgspec import to_builtins

from device_sim.draw import DRAWS
from streams import clock
from streams.cli.output import emit_facts, emit_json, emit_rows, json_option
from streams.evaluation.gate import EQUAL_SHARE_MAX, GateFigures, gate_figures
from streams.evaluation.measure import F1_MIN, GAIN_POINTS_MIN, UTTERANCES_MIN, Curve, curve, drawn
from streams.evaluation.poison import ATTACKS, POINTS_LOST_MAX, PoisonFigures, poisoned
from streams.extras import require
from streams.policy.load import load
from streams.printing import say

EVERY = 48


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
@json_option
@click.pass_context
def command(context: click.Context, numbers: tuple[str, ...], every: int, *, as_json: bool) -> None:
    """Let a simulated household use the loop, and measure every model version on utterances never used.

    Which utterances are the seed, the validation set, the test and the queries is drawn blind; each draw is
    played from an empty store without a broker, so that it gives the same figures on every run. Then bad and
    equally good candidates are shown to the gate of promotion, and one more device attacks the loop in
    several ways. Takes some minutes. Exits with 1 unless every draw meets the bars.
    """
    require("worker")
    policy = load("household", clock.date_today())
    draws = drawn([int(number) for number in numbers] or list(DRAWS))
    curves = [asyncio.run(curve(each, policy, every)) for each in draws]
    gates = [gate_figures(each) for each in draws]
    attacks = [
        [asyncio.run(poisoned(each, attack, policy, every, alone)) for attack in ATTACKS]
        for each, alone in zip(draws, curves, strict=True)
    ]
    if as_json:
        emit_json({"draws": [_plain(*each) for each in zip(curves, gates, attacks, strict=True)]})
    else:
        _show(curves, gates, attacks)
    every_bar = [each.holds for each in curves] + [gate.holds for gate in gates]
    every_bar += [attack.holds for attack in chain.from_iterable(attacks)]
    context.exit(0 if all(every_bar) else 1)


def _plain(each: Curve, gate: GateFigures, attacks: Sequence[PoisonFigures]) -> dict[str, object]:
    return {
        "draw": each.draw,
        "first": each.turns[0].f1,
        "last": each.last.f1,
        "gain_points": each.gain_points,
        "holds": each.holds,
        "turns": to_builtins(each.turns),
        "promotion": {**to_builtins(gate), "holds": gate.holds},
        "attacks": [_attacked(attack) for attack in attacks],
    }


def _attacked(attack: PoisonFigures) -> dict[str, object]:
    return {**to_builtins(attack), "points_lost": attack.points_lost, "holds": attack.holds}


def _show(
    curves: Sequence[Curve], gates: Sequence[GateFigures], attacks: Sequence[Sequence[PoisonFigures]]
) -> None:
    for each in curves:
        emit_rows([to_builtins(turn) for turn in each.turns])
        say("")
    emit_facts({f"draw {each.draw}": _summary(each) for each in curves})
    say(
        f"The bar: macro F1 over intents with at least {UTTERANCES_MIN} utterances in the test is at least "
        f"{F1_MIN:.2f} at the last version, and at least {GAIN_POINTS_MIN:g} points above the first."
    )
    say("")
    emit_rows([{**to_builtins(gate), "holds": gate.holds} for gate in gates])
    say(
        "The bar: every candidate with shuffled labels is declined, and at most "
        f"{EQUAL_SHARE_MAX:.0%} of the equal ones; none for those that are refitted on other examples."
    )
    say("")
    emit_rows(
        [{**_attacked(attack), "named": ", ".join(attack.named)} for attack in chain.from_iterable(attacks)]
    )
    say(f"The bar: an attack costs at most {POINTS_LOST_MAX:g} points of macro F1, and a check names it.")


def _summary(each: Curve) -> str:
    first, last = each.turns[0], each.last
    return (
        f"macro F1 {first.f1:.3f} of version {first.version}, {last.f1:.3f} of version {last.version}: "
        f"{each.gain_points:+.1f} points; {'holds' if each.holds else 'missed'}"
    )
