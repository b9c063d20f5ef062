"""After an erasure the policy says what becomes of others' examples made with models that are withdrawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams import clock
from streams.cli.main import main
from streams.errors import InputError
from streams.events.identity import format_id
from streams.events.record import Fetch, Outgoing
from streams.models.pointer import Pointer, Rollback, holds, together
from streams.models.version import CURRENT_KEY, ModelVersion, ids_of
from streams.pipeline.training_state import TrainingState
from streams.policy.load import parse
from streams.policy.policy import Policy
from streams.policy.rules import SECOND_ORDER_RULES
from streams.queries.reach import extent
from streams.queries.review import reviewable
from streams.queries.store import Store
from streams.replay import Replay
from streams.replay.stored import stored
from streams.topology import EXAMPLES, MODELS
from streams.training import gate
from tests import build
from tests.hostile.test_cores import GOOD_EXAMPLES
from tests.replay.counterfactual import ids_of as ids_in
from tests.replay.live import meaning
from tests.replay.test_interleavings import inputs, replayed, three_partitions
from tests.replay.worlds import LICENSED, World, drawn
from tests.training.test_training import remade

ERASED = "w1"


def saying(second_order: str, of: Policy | None = None) -> Policy:
    """A policy that says so of the second order."""
    text = (of or build.policy()).text
    before, zones, after = text.partition("[[zones]]")
    return parse(f'{before}[erasure]\nsecond_order = "{second_order}"\n{zones}{after}', "second")


def test_it_is_kept_unless_the_policy_says_otherwise() -> None:
    assert build.policy().second_order == "keep"
    assert {saying(each).second_order for each in ("keep", "review", "drop")} == {"keep", "review", "drop"}
    with pytest.raises(InputError, match=r"line \d+: 'forget' is no way .*expected keep, review, drop"):
        saying("forget")
    with pytest.raises(InputError, match="'second' is not a field of the table erasure"):
        parse(saying("drop").text.replace("second_order =", "second ="), "mine")


def test_policy_check_reads_it_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(saying("drop").text, encoding="utf-8")
    shown = CliRunner().invoke(main, ["policy", "check", str(path)]).output
    [line] = [line for line in shown.splitlines() if line.startswith("second order after an erasure")]
    assert line.endswith("drop")


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        (((1, 2), (4, 5)), ((1, 2), (4, 5))),
        (((4, 5), (1, 3)), ((1, 5),)),
        (((1, 9), (2, 3), (9, 9)), ((1, 9),)),
        ((), ()),
    ],
)
def test_runs_of_versions_are_put_together(
    some: tuple[tuple[int, int], ...], expected: tuple[tuple[int, int], ...]
) -> None:
    assert together(some[:1], some[1:]) == expected
    numbers = {number for first, last in some for number in range(first, last + 1)}
    assert {number for number in range(12) if holds(expected, number)} == numbers


def halves(world: World) -> tuple[list[Fetch], list[Fetch]]:
    fetches = world.fetches()
    return fetches[: len(fetches) * 2 // 3], fetches[len(fetches) * 2 // 3 :]


def erased(
    second_order: str, store: Path | None = None
) -> tuple[list[Outgoing], tuple[tuple[int, int], ...]]:
    """What is written of a world in the middle of which the models of a wearer are withdrawn, and which."""
    world = drawn(6)
    written: list[Outgoing] = []
    replay = Replay(saying(second_order, world.policy), written.extend, 3, licensed=LICENSED)
    before, after = halves(world)
    withdrawn: tuple[tuple[int, int], ...] = ()

    async def play() -> None:
        nonlocal withdrawn
        replay.begin(list(world.pairs), build.T0_NS)
        for fetch in before:
            await replay.process(fetch)
        made = [ModelVersion.load(each.value) for each in written if is_version(each)]
        withdrawn = together(
            tuple((each.version, each.version) for each in made if ERASED in each.manifest.wearers)
        )
        back = Rollback(1, made[-1].version, "erasure 7", build.T0_NS, erasure=True, withdrawn=withdrawn)
        replay._deliver([Outgoing(MODELS, 0, CURRENT_KEY, Pointer(1, back).dump(), (), 0)])
        for fetch in after:
            await replay.process(fetch)

    build.run(play())
    if store is not None:
        with stored(store) as sink:
            sink.write(written)
            sink.flush()
            sink.writer.settle(clock.now_ns())
    return written, withdrawn


def is_version(record: Outgoing) -> bool:
    return record.topic == MODELS and record.key != CURRENT_KEY


def last_version(written: list[Outgoing]) -> ModelVersion:
    return ModelVersion.load([each for each in written if is_version(each)][-1].value)


def second(written: list[Outgoing], withdrawn: tuple[tuple[int, int], ...]) -> set[str]:
    """Ids of examples that name a withdrawn version as a parent or in their value, by their lineage."""
    made = set[str]()
    for row in build.lineage(written)["edges"]:
        heard = row["child_stream"].startswith("example") and row["parent_stream"] == "intent-model"
        if heard and holds(withdrawn, row["parent_first"]):
            made.add(format_id(row["child_source"], row["child_stream"], row["child_first"]))
    for record in written:
        if record.topic == EXAMPLES:
            batch = build.CODEC.decode(record.value, 0, 0, captured=False)
            if holds(withdrawn, batch.columns["model_version"][0]):
                made.add(batch.first_id)
    return made


def test_the_next_run_leaves_it_out_and_says_why(tmp_path: Path) -> None:
    """The oracle is the lineage, and what `reach` says."""
    kept, withdrawn = erased("keep")
    dropped, same = erased("drop", tmp_path / "store")
    assert same == withdrawn != ()
    of_second = second(dropped, withdrawn)
    learned = set(ids_of(last_version(dropped).manifest.admitted))
    assert learned, "examples of before and of nobody's models are learned"
    assert not learned & of_second
    assert set(ids_of(last_version(kept).manifest.admitted)) & second(kept, withdrawn), "otherwise it is"
    rules = {
        format_id(source, stream, number): rule
        for source, stream, run, rule in last_version(dropped).manifest.refused
        for number in run
    }
    refused = {example for example, rule in rules.items() if rule == SECOND_ORDER_RULES["drop"]}
    assert refused
    assert refused <= of_second
    with Store.open(tmp_path / "store") as opened:
        of = extent(opened, ERASED)
        hers = ids_in(of.captured) | ids_in(of.made)
        assert refused - hers <= ids_in(of.second)
        decided = opened.sql("SELECT DISTINCT rule FROM decisions WHERE NOT passed AND sink = 'training-run'")
        assert (SECOND_ORDER_RULES["drop"],) in decided.rows
    why = ["ask", "why", sorted(refused)[0], "--store", str(tmp_path / "store")]
    answered = CliRunner().invoke(main, [*why, "--role", "privacy-officer"])
    assert "second-order: it was made with a model version" in answered.output
    again = ["policy", "recheck", "--store", str(tmp_path / "store"), "--role", "privacy-officer", "--json"]
    result = CliRunner().invoke(main, again)
    assert result.exit_code == 0, result.output


def test_what_is_held_is_listed_for_a_reviewer(tmp_path: Path) -> None:
    written, _ = erased("review", tmp_path / "store")
    with Store.open(tmp_path / "store") as opened:
        listed = {item.id for item in reviewable(opened) if item.why == "second-order"}
    held = {
        format_id(row["source"], row["stream"], row["first"] + at * row["step"])
        for row in build.lineage(written)["decisions"]
        if row["rule"] == SECOND_ORDER_RULES["review"]
        for at in range(row["count"])
    }
    about = {
        format_id(row["child_source"], row["child_stream"], row["child_first"]): format_id(
            row["parent_source"], row["parent_stream"], row["parent_first"]
        )
        for row in build.lineage(written)["edges"]
        if row["child_stream"] == "example" and row["parent_stream"] == "answer"
    }
    assert listed == {about[example] for example in held} != set()


def test_a_review_lets_through_what_feedback_made_with_a_withdrawn_version() -> None:
    example = GOOD_EXAMPLES[0]
    codec, adopt, now_ns = build.CODEC, (lambda label, *_: label), build.T0_NS + 10**10
    reviewed = remade(example, stream="example-review")

    def admitted(policy: str, withdrawn: tuple[tuple[int, int], ...]) -> list[bool]:
        crossing = replace(build.crossing(), policy=saying(policy))
        return [
            gate.judge(each, codec, crossing, adopt, now_ns, withdrawn=withdrawn).admitted
            for each in (example, reviewed)
        ]

    version = gate.read(example, codec)[0].columns["model_version"][0]
    mine = ((version, version),)
    assert admitted("keep", mine) == [True, True]
    assert admitted("review", mine) == [False, True]
    assert admitted("drop", mine) == [False, False]
    assert admitted("drop", ((version + 1, version + 9),)) == [True, True]


def test_which_were_withdrawn_outlives_a_restart() -> None:
    state = TrainingState(withdrawn=((2, 3), (7, 7)))
    assert TrainingState.load(state.dump()) == state
    assert TrainingState.load(state.dump().replace(b'"withdrawn"', b'"before"')).withdrawn == ()


def test_a_replay_leaves_out_what_the_live_run_did() -> None:
    """Which versions were withdrawn is a recorded input, and outlives a crash."""
    live = three_partitions()
    live.switch(saying("drop"))
    for number in (0, 1, 2, 0):
        live.learn(number)
        live.fetch(number, 9, checkpoint=False)
        live.learn(-1)
        live.train(4, checkpoint=False)
    live.roll_back(0, withdrawn=((2, 3),))
    live.learn(-1)
    live.train(1, checkpoint=False)
    live.crash_training(2)
    live.finish()
    said = meaning(live.outputs)
    assert any(SECOND_ORDER_RULES["drop"] in decision for decision in said["decisions"])
    assert meaning(replayed(live, inputs(live.outputs))) == said
