"""Of a corrected event each revision leaves the store by itself, and with it the edges that name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.errors import InputError
from streams.queries.questions import why
from streams.queries.store import Store
from streams.snapshots.writer import Writer
from tests.snapshots.build import POLICY, T0_NS, Row, derived, edge, record, stream, tagged
from tests.snapshots.contents import ask
from tests.snapshots.days import appended, filled
from tests.snapshots.worlds import HER, erasure, mark, take_in

_LATER_NS = T0_NS + 500_000_000_000


@pytest.mark.usefixtures("small")
def test_an_edge_to_a_corrected_parent_goes_when_that_revision_goes(tmp_path: Path) -> None:
    """Whether it was there already or comes later, and no edge to another revision of the parent does."""
    at: dict[str, Any] = dict.fromkeys(("appended_ns", "t_first_ns", "t_last_ns"), T0_NS)

    def made(number: int, revision: int, zone: str) -> Row:
        about = {**tagged(zone=zone), **at, "kind": "activity", "revision": revision}
        return derived("g1", "activity", number, **about)

    def cited(child: int, number: int, revision: int) -> Row:
        parent = ("g1", "activity", number)
        return edge(("g1", "situation", child), parent, operator="situation", parent_revision=revision)

    situation = {**tagged(zone="public"), **at, "kind": "situation"}
    first = {
        "policies": [POLICY],
        "streams": [
            stream("g1", kind, kind, captured=kind == "imu") for kind in ("imu", "activity", "situation")
        ],
        "events": [
            *(
                made(number, revision, zone)
                for number, zones in {
                    0: ("public", "bystander-present"),
                    8: ("public", "bystander-present"),
                    10: ("bystander-present", "public"),
                }.items()
                for revision, zone in enumerate(zones)
            ),
            *(derived("g1", "situation", number, **situation) for number in (0, 1)),
        ],
    }
    late = {"edges": [cited(0, number, revision) for number in (0, 8, 10) for revision in (0, 1)]}
    pairs = (
        "SELECT child_number, parent_number, parent_revision FROM edge_records "
        "WHERE child_stream = 'situation' ORDER BY ALL"
    )
    in_time = filled(tmp_path / "in-time", [appended(record(0, {**first, **late}), 0)])
    assert len(ask(in_time, pairs)) == 6
    filled(in_time, [appended(record(1, {}), 1)])
    path = filled(tmp_path / "late", [appended(record(0, first), 0), appended(record(1, {}), 1)])
    assert ask(path, "SELECT revision, low, high, events FROM expired ORDER BY ALL") == [
        (0, 10, 10, 1),
        (1, 0, 0, 1),
        (1, 8, 8, 1),
    ]
    with Store.open(path) as opened:
        for identity, says in {
            "g1/activity/10": "expired on",
            "g1/activity/0.1": "expired on",
            "g1/activity/0.2": "no agent wrote it",
        }.items():
            with pytest.raises(InputError, match=rf"^{identity}: {says}"):
                why(opened, identity)
    filled(path, [appended(record(2, late), 1.01)])
    assert ask(path, pairs) == ask(in_time, pairs) == [(0, 0, 0), (0, 8, 0), (0, 10, 1)]
    # Between two corrections that left another is made, of samples that were as late as that.
    between = {"events": [made(4, 0, "public"), made(4, 1, "public")], "edges": [cited(1, 4, 1)]}
    filled(path, [appended(record(3, between), 1.02)])
    assert ask(path, pairs)[-1] == (1, 4, 1)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("late", [False, True], ids=["in-time", "late"])
def test_of_a_corrected_event_that_revision_goes_which_was_made_of_what_is_erased(
    tmp_path: Path, late: bool
) -> None:
    """With its edges and what was made of it, also when the edges come last; the other revision stays."""
    since_ns, after_ns = T0_NS + 1_000, T0_NS + 2_000

    def made(kind: str, number: int, at_ns: int, wearer: str = HER, revision: int = 0) -> Row:
        times = dict.fromkeys(("t_first_ns", "t_last_ns", "appended_ns"), at_ns)
        return derived("g1", kind, number, kind=kind, wearer=wearer, revision=revision, **times)

    def cited(child: tuple[str, str, int], revision: int, child_revision: int = 0) -> Row:
        operator = {"model": "training"}.get(child[1], child[1])
        revisions = {"parent_revision": revision, "child_revision": child_revision}
        return edge(child, ("g1", "activity", 0), operator=operator, **revisions)

    kinds = ("activity", "situation")
    events = {
        "policies": [POLICY],
        "streams": [stream("g1", kind, kind, captured=False) for kind in kinds],
        "events": [
            made("activity", 0, T0_NS),
            made("activity", 0, after_ns, revision=1),
            made("situation", 0, T0_NS),
            # Made of her data for another wearer, before the time too: it goes by the edge alone.
            made("situation", 1, T0_NS, "w2"),
        ],
    }
    edges = {
        "edges": [
            cited(("g1", "situation", 0), 0),
            cited(("g1", "situation", 1), 1),
            cited(("g1", "activity", 0), 0, child_revision=1),
        ]
    }
    model = {**tagged(), "kind": "model", "topic": "glasses.models", "wearer": "", "partition": 0}
    trained = {
        "events": [derived("training", "model", 1, **model)],
        "edges": [cited(("training", "model", 1), revision) for revision in (0, 1)],
    }
    records = [
        (0, record(0, events if late else {**events, **edges})),
        (0, record(1, trained, b"training/0")),
        *([(0, record(2, edges))] if late else []),
    ]
    before = [records[0]] if late else records
    path = tmp_path / "store"
    writer = Writer.open(path, fold="inline")
    take_in(writer, before)
    writer.erase([erasure(after_ns, since_ns=since_ns)], mark, _LATER_NS)
    take_in(writer, records[len(before) :])
    writer.settle(_LATER_NS)
    writer.close()
    pairs = "SELECT child_id, parent_id FROM edge_records ORDER BY ALL"
    assert ask(path, pairs) == [("g1/situation/0", "g1/activity/0"), ("training/model/1", "g1/activity/0")]
    assert {name for (name,) in ask(path, "SELECT id FROM event_records")} == {
        "g1/activity/0",
        "g1/situation/0",
        "training/model/1",
    }
