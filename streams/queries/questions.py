"""The questions: ancestors, why, genuine, loop, missing. The same names in Python and as commands.

Answers are plain dictionaries, ready for JSON; lists have at most ANSWER_ROWS_MAX entries and say how many
more there are. Every answer names the epoch that it is about: what is not published yet is not in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from streams import limits
from streams.errors import InputError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, format_id
from streams.queries.about import (
    Answer,
    Named,
    bounded,
    described,
    event_row,
    ids_of,
    in_sight,
    known,
    models_met,
    parsed,
    refused_because,
    rows_at,
    shows_absence,
    start_of,
    step_rows,
    streams_seen,
    timed,
    unknown,
    unwritten,
    version_row,
)
from streams.queries.relation import Interval, Stream
from streams.queries.store import Store
from streams.queries.walk import Step, judged, size, subtract, union, walk

_NOWHERE = "the loop did not carry it anywhere: no answer, feedback or example was made of it"
_DIGEST = re.compile("[0-9a-fA-F]{32}")
_OF_EVENT = (
    "kind",
    "zone",
    "label",
    "rule",
    "policy_version",
    "wearer",
    "consent",
    "session",
    "topic",
    "partition",
    "offset",
    "digest",
    "split_from",
    "origin",
)


def ancestors(store: Store, identity: str, *, through_models: bool = False) -> Answer:
    """Return everything that an event was made of, hop by hop, each event with its zone.

    A model is where the walk stops, because behind it lie all the examples of all generations: it is
    summarised.

    Parameters
    ----------
    through_models
        Go on through models into their training sets.

    Raises
    ------
    InputError
        `identity` has another form, or the store does not hold the event.
    """
    event = parsed(identity)
    if not in_sight(store, event):
        raise unknown(store, event)
    steps = list(
        walk(
            store,
            "parents",
            start_of(event),
            event.number,
            lambda stream: stream[:2] in store.models and not through_models,
        )
    )
    # What has parents is there; of what has none, a captured event, its own row says so.
    if not steps and event_row(store, event) is None:
        raise unknown(store, event)
    rows = [row for step in steps for row in step_rows(step)]
    return {
        "id": str(event),
        "epoch": store.epoch,
        "hops": max((step.hop for step in steps), default=0),
        **bounded("ancestors", rows),
        "models": models_met(store, steps),
    }


def why(store: Store, identity: str) -> Answer:
    """Return why an event is where it is.

    That is its zone, label, rule and policy, the decisions about it, and its direct parents.

    An answer also names the model version that gave it and the situation it was given in; a rejected event
    `says` why. InputError when the store knows nothing of it.
    """
    event = parsed(identity)
    at = {"source": event.source, "stream": event.stream}
    row = event_row(store, event)
    rejections = rows_at(store, "rejected", event)
    if row is None and not rejections:
        raise unknown(store, event)
    answer: Answer = {
        "id": str(event),
        "epoch": store.epoch,
        **at,
        "number": event.number,
        "revision": event.revision,
        "rejected": [timed(r) for r in rejections],
    }
    if row is None:
        answer["says"] = refused_because(rejections[0])
    else:
        answer |= {name: row[name] for name in _OF_EVENT}
        answer["label_says"] = described(store, row["policy_version"], row["label"])
        answer |= {
            "t_first": rfc3339(row["t_first_ns"]),
            "t_last": rfc3339(row["t_last_ns"]),
            "published_in_epoch": row["epoch"],
        }
    answer |= bounded("decisions", [timed(decision) for decision in rows_at(store, "decisions", event)])
    # What is not shown is not gone through, and what is not stored has no parents.
    steps = [] if row is None else list(_parents(store, event))
    answer |= bounded("parents", [row for step in steps for row in step_rows(step)])
    if answer.get("kind") == "answer":
        answer["model"] = next(iter(models_met(store, steps)), None)
        answer["situation"] = next(
            (
                ids_of(step.stream, step.numbers)[0]
                for step in steps
                if store.kinds.get(step.stream[:2]) == "situation"
            ),
            None,
        )
    return answer


def genuine(store: Store, identity: str, digest: str) -> Answer:
    """Return whether a record is one that an agent wrote: `genuine`, and a sentence that `says` why.

    A record is that if the store has its id with the digest of its value. A further copy of it differs in
    nothing but its place: a reader keeps the ids that it has had.

    Parameters
    ----------
    identity
        `ce_id` of the record.
    digest
        XXH3-128 of its value, 32 hexadecimal digits.

    Raises
    ------
    InputError
        One of both has another form; or the role is not shown the event, nor all of its stream: then nothing
        is said about an id that it is not shown.
    """
    event = parsed(identity)
    if not _DIGEST.fullmatch(digest):
        raise InputError(
            "digest: found another form, expected 32 hexadecimal digits, the XXH3-128 of the record's value"
        )
    row = event_row(store, event)
    answer: Answer = {"id": str(event), "epoch": store.epoch, "genuine": False}
    if row is None:
        if rejections := rows_at(store, "rejected", event):
            rule = rejections[0]["rule"]
            return answer | {"says": f"{event} was rejected ({rule}), so no agent wrote a record of it"}
        if not shows_absence(store, event):
            raise unknown(store, event)
        return answer | {"says": unwritten(store, event)}
    first = format_id(event.source, event.stream, row["first"], event.revision)
    if first != str(event):
        return answer | {"says": f"the record that an agent wrote with {event} in it bears the id {first}"}
    if row["digest"] != digest.lower():
        return answer | {"says": "an agent wrote a record with this id and another value"}
    answer |= {"genuine": True, "says": "an agent wrote a record with this id and this value"}
    return answer | {name: row[name] for name in ("kind", "zone", "label", "policy_version", "partition")}


def decided(store: Store, identity: str) -> list[dict[str, Any]]:
    """Rows of the decisions about an event, stored or refused, as table `decisions` has them.

    InputError when it is no id.
    """
    return rows_at(store, "decisions", parsed(identity))


def declassifiers_of(store: Store, identity: str) -> dict[str, int]:
    """Declassifiers that loosened the label of an event on its way from its parents.

    With how many edges went by each, of those that the role is shown.
    """
    names = {step.declassifier for step in _parents(store, parsed(identity))} - {""}
    uses = {row["declassifier"]: row["uses"] for row in store.shown("declassified").dicts()} if names else {}
    return {name: uses.get(name, 0) for name in sorted(names)}


def loop(store: Store, identity: str) -> Answer:
    """Return where the loop carried an event.

    That is feedback, examples, model versions, and the answers that those gave since; `made_of_it` are counts
    of events by kind, and `says` that the loop carried it nowhere.

    For a model, the generations are those of its stream from that version on. InputError when the store does
    not hold the event.
    """
    event = known(store, identity)
    models, kinds = store.models, store.kinds
    start = (event.source, event.stream)
    carried: dict[str, list[str]] = {"answer": [], "feedback": [], "example": []}
    reached: dict[Named, list[Interval]] = {}
    learned: set[tuple[Named, int]] = set()
    if start in models:
        learned.add((start, event.number))
    else:
        if kinds.get(start) in carried:
            carried[kinds[start]].append(str(event))
        for step in walk(
            store, "children", start_of(event), event.number, lambda stream: stream[:2] in models
        ):
            kind = kinds.get(step.stream[:2])
            numbers = union([*reached.get(step.stream[:2], ()), *step.numbers])
            reached[step.stream[:2]] = numbers
            if step.stream[:2] in models:
                learned |= {
                    (step.stream[:2], number) for low, high in step.numbers for number in range(low, high + 1)
                }
            elif kind in carried:
                carried[kind] += ids_of(step.stream, step.numbers)
        # Feedback is an event of the device, tied to its answer by the example that both became.
        for example in carried["example"]:
            for step in _parents(store, EventId.parse(example)):
                kind = kinds.get(step.stream[:2])
                if kind in {"answer", "feedback"}:
                    carried[kind] += ids_of(step.stream, step.numbers)
    first = {stream: min(number for owner, number in learned if owner == stream) for stream, _ in learned}
    given = answers_given(store, first)
    generations = [
        {
            **version_row(row),
            "answers": given[(row["source"], row["stream"]), row["version"]],
            "learned_from_it": ((row["source"], row["stream"]), row["version"]) in learned,
        }
        for row in store.sift(
            [
                row
                for stream, since in sorted(first.items())
                for version, row in models[stream].items()
                if version >= since
            ],
            "models",
        )
    ]
    made: Counter[str] = Counter()
    for stream, numbers in reached.items():
        made[kinds.get(stream, "unknown")] += size(numbers)
    return {
        "id": str(event),
        "epoch": store.epoch,
        **({} if generations or any(carried.values()) else {"says": _NOWHERE}),
        "made_of_it": dict(sorted(made.items())),
        **{
            f"{kind}s" if kind != "feedback" else kind: list(dict.fromkeys(ids))[: limits.ANSWER_ROWS_MAX]
            for kind, ids in carried.items()
        },
        **bounded("generations", generations),
    }


def answers_given(store: Store, since: Mapping[Named, int]) -> Counter[tuple[Named, int]]:
    """How many answers, of those that the store's role is shown, each model version gave.

    `since` are the first versions that are asked for, by stream.
    """
    wanted = {(*stream, 0): [(first, limits.NUMBER_MAX)] for stream, first in since.items()}
    edges = [
        edge for edge in store.lookup.edges("children", wanted) if store.kinds.get(edge.child[:2]) == "answer"
    ]
    hidden: dict[Stream, list[Interval]] = {}
    if store.sight is not None:
        reached = {edge.child: (0, limits.NUMBER_MAX) for edge in edges}
        for stream, runs in store.lookup.zones(reached).items():
            shown, hidden[stream] = judged(store, runs)
            for run in shown:
                store.sight.note(run.of["policy_version"], run.of["zone"])
    return Counter(
        (edge.parent[:2], version)
        for edge in edges
        for number, version in edge.run.pairs()
        if subtract([(number, number)], hidden.get(edge.child, ()))
    )


def _parents(store: Store, event: EventId) -> Iterator[Step]:
    """The direct parents of an event."""
    return walk(store, "parents", start_of(event), event.number, lambda _: True, hops_max=1)


def missing(store: Store) -> Answer:
    """Return the numbers of captured streams that are missing, and the data that are.

    Numbers are `missing` between 0 and the highest known if they are neither stored nor rejected. Data are if
    other data have their numbers: `collisions`, as far as the pipeline knew them; the ledger knows all. How
    many of the missing ones came in a batch that nobody could read is `rejected`, as far as the role is shown
    that: `why` says of each what was wrong. `rejected` of a stream is how many up to its highest were
    refused.

    The answer is complete for what lies below `offsets` of `glasses.lineage`, in the `log` of it that the
    store follows since an epoch: what is still on its way counts as missing until the epoch that holds it.

    A role is answered for streams that it is shown whole. Of those that it is shown in part it is told that,
    and no number: a number that is hidden from it would look like one that is missing.
    """
    seen = streams_seen(store)
    runs, every = store.query("missing").dicts(), store.query("captured").dicts()
    collisions = store.query("collisions").dicts()
    streams = [row for row in every if (row["source"], row["stream"]) in seen]
    if store.sight is not None:
        store.sight.hide("streams", len(every) - len(streams))
        runs = [row for row in runs if seen.get((row["source"], row["stream"]))]
        # Of a stream that other data took over from its first number on, nothing need be stored.
        collisions = [row for row in collisions if store.sight.sees(row, "rejected")]
    claims = _claims(store)
    for run in runs:
        whole = [(run["first"], run["first"] + run["count"] - 1)]
        run["rejected"] = size(whole) - size(subtract(whole, claims.get((run["source"], run["stream"]), ())))
    lost: dict[Named, list[Interval]] = {}
    for run in runs:
        lost.setdefault((run["source"], run["stream"]), []).append((run["first"], run["count"]))
    for row in streams:
        end = row["highest"] + 1
        some = lost.get((row["source"], row["stream"]), ())
        row["rejected"] = end - row["stored"] - sum(min(count, max(end - first, 0)) for first, count in some)
    in_part = [row for row in streams if not seen[row["source"], row["stream"]]]
    collisions = [{name: row[name] for name in ("source", "stream", "first", "count")} for row in collisions]
    newest = store.query("newest_epoch").dicts()[0]
    log = {name: newest[name] for name in ("cluster", "topic", "since_epoch")}
    return {
        "epoch": store.epoch,
        "published": rfc3339(newest["published_ns"]),
        "offsets": {str(partition): offset for partition, offset in newest["offsets"].items()},
        **({"log": log} if log["cluster"] or log["topic"] else {}),
        "missing_events": sum(run["count"] for run in (*runs, *collisions)),
        "rejected_events": sum(run["rejected"] for run in runs),
        **bounded("missing", runs),
        **bounded("collisions", collisions),
        **bounded("streams", [row for row in streams if seen[row["source"], row["stream"]]]),
        **bounded(
            "not_shown_whole", [{name: row[name] for name in ("source", "stream", "kind")} for row in in_part]
        ),
    }


def _claims(store: Store) -> dict[Named, list[Interval]]:
    """Numbers that unreadable batches claimed, by stream, of those that the role is shown."""
    found: dict[Named, list[Interval]] = {}
    for row in store.sift(store.query("claimed").dicts(), "rejected", counted=False):
        found.setdefault((row["source"], row["stream"]), []).append(
            (row["first"], row["first"] + row["count"] - 1)
        )
    return {stream: union(runs) for stream, runs in found.items()}
