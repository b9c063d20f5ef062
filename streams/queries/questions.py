"""The questions: ancestors, why, loop, missing. The same names in Python and on the command line.

Answers are plain dictionaries, ready for JSON; lists have at most ANSWER_ROWS_MAX entries and say how many
more there are. Every answer names the epoch that it is about: what is not published yet is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams import limits
from streams.errors import InputError, MalformedError
from streams.events.headers import rfc3339
from streams.events.identity import EventId, format_id
from streams.policy.load import parse
from streams.queries.store import Store
from streams.queries.walk import Interval, Step, Stream, walk

Answer = dict[str, Any]
_OF_EVENT = (
    "kind",
    "zone",
    "label",
    "rule",
    "policy_version",
    "wearer",
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
    event = _known(store, identity)
    model_streams = store.streams_of("models")
    steps = list(
        walk(
            store,
            "parents",
            (event.source, event.stream),
            event.number,
            lambda stream: stream in model_streams and not through_models,
        )
    )
    rows = [row for step in steps for row in _step_rows(store, step)]
    found = {
        (step.stream, number)
        for step in steps
        if step.stream in model_streams
        for low, high in step.numbers
        for number in range(low, high + 1)
    }
    met = (
        [
            version
            for stream, versions in sorted(_models(store).items())
            for version in versions
            if (stream, version["version"]) in found
        ]
        if found
        else []
    )
    return {
        "id": str(event),
        "epoch": store.epoch,
        "hops": max((step.hop for step in steps), default=0),
        **_bounded("ancestors", rows),
        "models": met,
    }


def why(store: Store, identity: str) -> Answer:
    """Return why an event is where it is.

    That is its zone, label, rule and policy, the decisions about it, and its direct parents.

    An answer also names the model version that gave it and the situation it was given in; a rejected event
    says why. InputError when the store knows nothing of it.
    """
    event = _parse(identity)
    at = {"source": event.source, "stream": event.stream}
    row = _event_row(store, event)
    rejections = _at(store, "rejected", event)
    if row is None and not rejections:
        raise _unknown(store, event)
    answer: Answer = {
        "id": str(event),
        "epoch": store.epoch,
        **at,
        "number": event.number,
        "rejected": [_timed(r) for r in rejections],
    }
    if row is not None:
        answer |= {name: row[name] for name in _OF_EVENT}
        answer["label_says"] = _describe(store, row["policy_version"], row["label"])
        answer |= {
            "t_first": rfc3339(row["t_first_ns"]),
            "t_last": rfc3339(row["t_last_ns"]),
            "published_in_epoch": row["epoch"],
        }
    answer |= _bounded("decisions", [_timed(decision) for decision in _at(store, "decisions", event)])
    steps = list(
        walk(store, "parents", (event.source, event.stream), event.number, lambda _: True, hops_max=1)
    )
    answer |= _bounded("parents", [row for step in steps for row in _step_rows(store, step)])
    if answer.get("kind") == "answer":
        models, kinds = _models(store), _kinds(store)
        answer["model"] = next(
            (
                version
                for step in steps
                for version in models.get(step.stream, ())
                if step.numbers[0][0] == version["version"]
            ),
            None,
        )
        answer["situation"] = next(
            (
                format_id(*step.stream, step.numbers[0][0])
                for step in steps
                if kinds.get(step.stream) == "situation"
            ),
            None,
        )
    return answer


def decided(store: Store, identity: str) -> list[dict[str, Any]]:
    """Rows of the decisions about an event, stored or refused, as table `decisions` has them.

    InputError when it is no id.
    """
    return _at(store, "decisions", _parse(identity))


def declassifiers_of(store: Store, identity: str) -> dict[str, int]:
    """Declassifiers that loosened the label of an event on its way from its parents.

    Each comes with the number of edges of the store that went by it.
    """
    event = _parse(identity)
    steps = walk(store, "parents", (event.source, event.stream), event.number, lambda _: True, hops_max=1)
    names = {step.declassifier for step in steps} - {""}
    uses = {row["declassifier"]: row["uses"] for row in store.query("declassified").dicts()} if names else {}
    return {name: uses[name] for name in sorted(names)}


def loop(store: Store, identity: str) -> Answer:
    """Return where the loop carried an event.

    That is feedback, examples, model versions, and the answers that those gave since.

    For a model, the generations are those of its stream from that version on. InputError when the store does
    not hold the event.
    """
    event = _known(store, identity)
    models, kinds = _models(store, "generations"), _kinds(store)
    start = (event.source, event.stream)
    carried: dict[str, list[str]] = {"answer": [], "feedback": [], "example": []}
    learned: set[tuple[Stream, int]] = set()
    if start in models:
        learned.add((start, event.number))
    else:
        if kinds.get(start) in carried:
            carried[kinds[start]].append(str(event))
        for step in walk(store, "children", start, event.number, lambda stream: stream in models):
            if step.stream in models:
                learned |= {
                    (step.stream, number) for low, high in step.numbers for number in range(low, high + 1)
                }
            elif kinds.get(step.stream) in carried:
                carried[kinds[step.stream]] += _ids(step.stream, step.numbers)
        # Feedback is an event of the device, tied to its answer by the example that both became.
        for example in carried["example"]:
            made = EventId.parse(example)
            for step in walk(
                store, "parents", (made.source, made.stream), made.number, lambda _: True, hops_max=1
            ):
                if kinds.get(step.stream) in {"answer", "feedback"}:
                    carried[kinds[step.stream]] += _ids(step.stream, step.numbers)
    first = {stream: min(number for owner, number in learned if owner == stream) for stream, _ in learned}
    generations = [
        {**version, "learned_from_it": (stream, version["version"]) in learned}
        for stream, versions in sorted(models.items())
        if stream in first
        for version in versions
        if version["version"] >= first[stream]
    ]
    return {
        "id": str(event),
        "epoch": store.epoch,
        **{
            f"{kind}s" if kind != "feedback" else kind: list(dict.fromkeys(ids))[: limits.ANSWER_ROWS_MAX]
            for kind, ids in carried.items()
        },
        **_bounded("generations", generations),
    }


def missing(store: Store) -> Answer:
    """Return the numbers of captured streams that are neither stored nor rejected.

    They lie between 0 and the highest known. The answer is complete for what lies below `offsets` of
    `glasses.lineage`: what is still on its way counts as missing until the epoch that holds it.
    """
    runs, streams = store.query("missing").dicts(), store.query("captured").dicts()
    if store.sight is not None:
        seen = {
            (row["source"], row["stream"])
            for row in store.query("sights").dicts()
            if store.sight.sees(row, "events")
        }
        shown = [row for row in streams if (row["source"], row["stream"]) in seen]
        store.sight.hide("streams", len(streams) - len(shown))
        runs, streams = [row for row in runs if (row["source"], row["stream"]) in seen], shown
    newest = store.query("newest_epoch").dicts()[0]
    return {
        "epoch": store.epoch,
        "published": rfc3339(newest["published_ns"]),
        "offsets": {str(partition): offset for partition, offset in newest["offsets"].items()},
        "missing_events": sum(run["count"] for run in runs),
        **_bounded("missing", runs),
        **_bounded("streams", streams),
    }


def _describe(store: Store, policy_version: str, label: str) -> dict[str, str]:
    """A label in the words of the policy that gave it, as the store keeps it."""
    text = store.policies.get(policy_version)
    return parse(text, f"policy {policy_version}").describe(bytes.fromhex(label)) if text else {}


def _parse(identity: str) -> EventId:
    try:
        return EventId.parse(identity)
    except MalformedError as error:
        raise InputError(str(error)) from None


def _unknown(store: Store, event: EventId) -> InputError:
    if store.sight is not None and store.sight.hidden:
        return InputError(
            f"{event}: its policy does not show it to the role {store.sight.role}; "
            "who may see it asks with --role"
        )
    return InputError(
        f'{event}: epoch {store.epoch} of {store.directory} holds no such event; `sightline sql "FROM '
        'streams"` lists the streams, and what was captured in the last second may not be published yet'
    )


def _known(store: Store, identity: str) -> EventId:
    event = _parse(identity)
    if _event_row(store, event, "zones_at") is None:
        raise _unknown(store, event)
    return event


def _event_row(store: Store, event: EventId, statement: str = "events_at") -> dict[str, Any] | None:
    files = store.files_with("events", "own", event.source, event.stream, event.number, event.number)
    if not files:
        return None
    rows = store.query(
        statement,
        {
            "files": files,
            "source": event.source,
            "stream": event.stream,
            "low": event.number,
            "high": event.number,
        },
    ).dicts()
    row = next((row for row in rows if (event.number - row["first"]) % row["step"] == 0), None)
    if row is not None and not store.sift([row], "events"):
        raise _unknown(store, event)
    return row


def _at(store: Store, table: str, event: EventId) -> list[dict[str, Any]]:
    files = store.files_with(table, "own", event.source, event.stream, event.number, event.number)
    if not files:
        return []
    at = {"files": files, "source": event.source, "stream": event.stream, "number": event.number}
    return store.sift(store.query(f"{table}_at", at).dicts(), table)


def _step_rows(store: Store, step: Step) -> list[dict[str, Any]]:
    """One row for each run of numbers that a hop found, with the zones of its events."""
    source, stream = step.stream
    low, high = step.numbers[0][0], step.numbers[-1][1]
    files = store.files_with("events", "own", source, stream, low, high)
    runs = (
        store.query(
            "zones_at", {"files": files, "source": source, "stream": stream, "low": low, "high": high}
        ).dicts()
        if files
        else []
    )
    return [
        {
            "hop": step.hop,
            "id": format_id(source, stream, first),
            "events": last - first + 1,
            "source": source,
            "stream": stream,
            "first": first,
            "last": last,
            "zones": sorted(
                {
                    run["zone"]
                    for run in runs
                    if run["first"] <= last and run["first"] + run["step"] * (run["count"] - 1) >= first
                }
            ),
            "of": format_id(*step.origin, 0).rpartition("/")[0],
            "operator": step.operator,
            "operator_version": step.operator_version,
            "directness": step.directness,
            "declassifier": step.declassifier,
        }
        for first, last in step.numbers
    ]


def _models(store: Store, statement: str = "models") -> dict[Stream, list[dict[str, Any]]]:
    """Versions by model stream, in order; with `generations`, also the answers that each gave."""
    models: dict[Stream, list[dict[str, Any]]] = {}
    for row in store.sift(store.query(statement).dicts(), "models"):
        stream = (row.pop("source"), row.pop("stream"))
        trained_ns, _ = row.pop("trained_ns"), row.pop("label")
        models.setdefault(stream, []).append(
            {"id": format_id(*stream, row["version"]), **row, "trained": rfc3339(trained_ns)}
        )
    return models


def _kinds(store: Store) -> dict[Stream, str]:
    return {(source, stream): kind for source, stream, kind, _ in store.query("kinds").rows}


def _ids(stream: Stream, numbers: Iterable[Interval]) -> list[str]:
    ids: list[str] = []
    for low, high in numbers:
        room = max(limits.ANSWER_ROWS_MAX - len(ids), 0)
        ids += [format_id(*stream, number) for number in range(low, min(high + 1, low + room))]
    return ids


def _timed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        ("t" if name == "t_ns" else name): rfc3339(value) if name == "t_ns" else value
        for name, value in row.items()
    }


def _bounded(name: str, rows: list[dict[str, Any]]) -> Answer:
    return {name: rows[: limits.ANSWER_ROWS_MAX], f"{name}_more": max(len(rows) - limits.ANSWER_ROWS_MAX, 0)}
