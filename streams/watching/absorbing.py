"""How a reading adds to what the alert rules remember: pure functions of a state and a reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from streams import limits
from streams.consent.record import consents_of
from streams.consent.words import Word
from streams.errors import MalformedError
from streams.queries.watched import ConsentedRow, DeviceRow, FlowRow, Watched
from streams.watching.reading import Reading
from streams.watching.state import Counted, Device, Flow, Late, Permission, Span, State
from streams.watching.thresholds import Thresholds

T = TypeVar("T")
K = TypeVar("K")
#: The stream time of an epoch; long ago if its time is not known any more.
Timed = Callable[[int], float]
LONG_AGO_S = float("-inf")
#: Counts of events are merged into spans of this many seconds.
_SPAN_S = 2.0
#: Rules of feedback that finds fault with an answer, as far as the store tells (`streams.feedback.forms`).
BAD_FEEDBACK = frozenset({"negated", "asked-again", "stopped", "rated-low"})


def absorb(state: State, reading: Reading, thresholds: Thresholds) -> State:
    """Return what is remembered after a reading."""
    is_first = not state.started
    state = replace(state, now_s=reading.now_s, now_ns=reading.now_ns)
    if is_first:
        seen_s = reading.now_s - max(reading.epoch_age_s, 0.0)
        state = replace(state, started=True, seen_s=seen_s)
    if reading.watched is not None:
        elapsed_s = 0.0 if is_first else min(reading.now_s - state.seen_s, limits.PAUSE_S_MAX)
        arriving = reading.arrived is not None
        state = _with_epochs(state, reading.watched, thresholds, elapsed_s, arriving=arriving)
        if not is_first:
            state = replace(state, seen_s=reading.now_s)
    if reading.arrived is not None:
        arrived = dict(state.arrived)
        for rule, events, id_ in reading.arrived:
            _count(arrived, rule, Counted(rule=rule), reading.now_s, events, id_)
        rising = thresholds.refusals_rising
        since_s = reading.now_s - rising.recent_s - rising.before_s
        began_s = reading.now_s if state.arriving_since_s is None else state.arriving_since_s
        state = replace(state, arrived=_recent(arrived, since_s), arriving_since_s=began_s)
    if reading.positions is not None:
        growing = thresholds.lag_growing
        samples = (*state.positions, (reading.now_s, reading.positions))
        since_s = reading.now_s - growing.window_s - growing.behind_s
        state = replace(state, positions=_sampled(samples, since_s))
    if reading.disk is not None:
        disks = (*state.disks, (reading.now_s, reading.disk))
        state = replace(state, disks=_sampled(disks, reading.now_s - thresholds.disk_filling.window_s))
    return state


def _with_epochs(
    state: State, watched: Watched, thresholds: Thresholds, elapsed_s: float, *, arriving: bool
) -> State:
    """Return what is remembered after further epochs, `elapsed_s` after the ones before.

    `arriving`: rejections are counted as they arrive.
    """
    ages_s = watched.ages_s
    passed_s = 0.0
    if state.epoch:
        # Of epochs that are too many to have their times read, the oldest of the others is the earliest.
        passed_s = ages_s.get(state.epoch, max(ages_s.values()))
        if watched.published_ns <= state.published_ns:
            # The writer's clock was set back, so its epochs do not say how far apart they are.
            passed_s = max(passed_s, elapsed_s)
    time_s = state.time_s + passed_s
    began_s = state.began_s if state.epoch else -ages_s.get(1, -LONG_AGO_S)

    def at(epoch: int) -> float:
        return time_s - ages_s[epoch] if epoch in ages_s else LONG_AGO_S

    incomplete, ids = state.incomplete, state.incomplete_ids
    for row in watched.incomplete:
        incomplete = _added(incomplete, at(row.epoch), row.events)
        ids = (*ids, (at(row.epoch), row.id))
    shown_s = time_s - thresholds.lineage_incomplete.shown_s
    words = _with_words(state.words, watched.words or ())
    late = _with_late(state.late, words, watched.consented, at, thresholds.consent_late.within_s)
    state = _with_refusals(state, watched, at, time_s, thresholds, arriving=arriving)
    return replace(
        state,
        epoch=watched.epoch,
        published_ns=watched.published_ns,
        time_s=time_s,
        began_s=began_s,
        flows=_with_flows(state.flows, watched.flows, at, began_s, thresholds),
        devices=_with_devices(
            state.devices, watched.devices, at, time_s - thresholds.device_stopped.forgotten_s
        ),
        models={**state.models, **{row.model: (row.id, row.retrain_by_ns) for row in watched.models}},
        settled=watched.settled,
        incomplete=_after(incomplete, shown_s),
        incomplete_ids=tuple(each for each in ids if each[0] > shown_s)[-limits.EVIDENCE_IDS_MAX :],
        words=words,
        late={
            key: each for key, each in late.items() if each.at_s > time_s - thresholds.consent_late.shown_s
        },
    )


def _with_refusals(
    state: State, watched: Watched, at: Timed, time_s: float, thresholds: Thresholds, *, arriving: bool
) -> State:
    """Return the state with what further epochs refused, and with their feedback."""
    decided, rejected = dict(state.decided), dict(state.rejected)
    feedback, bad = state.feedback, state.bad
    for row in watched.refusals:
        counted = Counted(rule=row.said_by, verdict=row.verdict, sink=row.sink)
        _count(decided, (row.sink, row.said_by), counted, at(row.epoch), row.events, row.id)
    for each in watched.rejected:
        if each.stage == "feedback" and each.said_by in BAD_FEEDBACK:
            bad = _added(bad, at(each.epoch), each.events)
        if not arriving:
            key, counted = (each.stage, each.said_by), Counted(rule=each.said_by)
            _count(rejected, key, counted, at(each.epoch), each.events, each.id)
    for given in watched.feedback:
        feedback = _added(feedback, at(given.epoch), given.events)
    rising, feedback_s = thresholds.refusals_rising, time_s - thresholds.feedback_bad.recent_s
    since_s = time_s - max(rising.recent_s + rising.before_s, thresholds.unconfigured.recent_s)
    return replace(
        state,
        decided=_recent(decided, since_s),
        rejected=_recent(rejected, since_s),
        feedback=_after(feedback, feedback_s),
        bad=_after(bad, feedback_s),
    )


def _with_flows(
    flows: Mapping[tuple[str, str], Flow],
    rows: Iterable[FlowRow],
    at: Timed,
    began_s: float,
    thresholds: Thresholds,
) -> dict[tuple[str, str], Flow]:
    """Return the flows out of restricted zones, each with its first event; rows are in order of epochs."""
    known, learned_s = thresholds.new_flow.known, thresholds.new_flow.learned_s
    result = dict(flows)
    for row in rows:
        if not row.restricted:
            continue
        key = (row.zone, row.sink)
        if (former := result.get(key)) is not None:
            result[key] = replace(former, events=former.events + row.events)
            continue
        at_s = at(row.epoch)
        result[key] = Flow(
            at_s=at_s,
            epoch=row.epoch,
            id=row.id,
            events=row.events,
            known=at_s - began_s < learned_s or at_s == LONG_AGO_S or " -> ".join(key) in known,
        )
    return result


def _with_devices(
    devices: Mapping[str, Device], rows: Iterable[DeviceRow], at: Timed, since_s: float
) -> dict[str, Device]:
    """Return when each device was last heard of, without those that nobody waits for any more."""
    result = dict(devices)
    for row in sorted(rows, key=lambda row: (row.epoch, row.offset)):
        former = result.get(row.source, Device(at_s=LONG_AGO_S, kind="", id=""))
        result[row.source] = Device(
            at_s=max(at(row.epoch), former.at_s),
            kind=row.kind,
            # A rejected record has no event in the store that could be named.
            id=row.id or former.id,
        )
    return {name: device for name, device in result.items() if device.at_s > since_s}


def _with_words(
    words: Mapping[str, tuple[Permission, ...]], values: Sequence[str]
) -> Mapping[str, tuple[Permission, ...]]:
    """Return what wearers permit, in the order of the broker's times; words that nobody can read are none."""
    result = dict(words)
    for value in values:
        try:
            statements = consents_of(value)
        except MalformedError:
            continue
        for wearer, word in statements:
            if isinstance(word, Word) and word.at_ns:
                purposes = frozenset(word.purposes) if word.status == "given" else frozenset[str]()
                permitted = {*result.get(wearer, ()), Permission(word.at_ns, purposes)}
                newest = sorted(permitted, key=lambda each: (each.at_ns, sorted(each.purposes)))
                result[wearer] = tuple(newest[-limits.WATCHED_WORDS_MAX :])
    return result


def _with_late(
    late: Mapping[tuple[str, str], Late],
    words: Mapping[str, tuple[Permission, ...]],
    rows: Iterable[ConsentedRow],
    at: Timed,
    within_s: float,
) -> dict[tuple[str, str], Late]:
    """Return what passed by a consent that its wearer had taken back more than `within_s` before."""
    result = dict(late)
    for row in rows:
        heard = [each for each in words.get(row.wearer, ()) if each.at_ns <= row.at_ns]
        # A word that permits the purpose again holds for what is captured after it, so it ends the judgement.
        if not heard or row.purpose in heard[-1].purposes:
            continue
        taken_ns = heard[-1].at_ns
        for before in reversed(heard):
            if row.purpose in before.purposes:
                break
            taken_ns = before.at_ns
        late_s = (row.at_ns - taken_ns) / 1e9
        key = (row.wearer, row.purpose)
        former = result.get(key)
        if late_s > within_s and (former is None or at(row.epoch) >= former.at_s):
            result[key] = Late(
                at_s=at(row.epoch),
                late_s=max(late_s, former.late_s if former else 0.0),
                id=row.id,
                events=row.events,
            )
    return result


def _count(counted: dict[K, Counted], key: K, kind: Counted, at_s: float, events: int, id_: str) -> None:
    """Add refused events to those of the same kind."""
    former = counted.get(key, kind)
    counted[key] = replace(former, spans=_added(former.spans, at_s, events), id=id_ or former.id)


def _recent(counted: Mapping[K, Counted], since_s: float) -> dict[K, Counted]:
    """Return the counts without what is older; if there are too many, those that were refused last."""
    kept = {key: replace(each, spans=_after(each.spans, since_s)) for key, each in counted.items()}
    lasting = sorted(
        ((key, each) for key, each in kept.items() if each.spans), key=lambda item: item[1].spans[-1].at_s
    )
    return dict(lasting[-limits.WATCHED_REFUSALS_MAX :])


def _added(spans: tuple[Span, ...], at_s: float, events: int) -> tuple[Span, ...]:
    """Return the spans with further events, in order of time."""
    if at_s == LONG_AGO_S:
        return spans
    place = int(at_s // _SPAN_S)
    if spans and int(spans[-1].at_s // _SPAN_S) == place:
        return (*spans[:-1], Span(at_s, spans[-1].events + events))
    return tuple(sorted((*spans, Span(at_s, events))))


def _after(spans: tuple[Span, ...], since_s: float) -> tuple[Span, ...]:
    return tuple(span for span in spans if span.at_s > since_s)


def _sampled(samples: tuple[tuple[float, T], ...], since_s: float) -> tuple[tuple[float, T], ...]:
    """Return the samples since a time, and the last one before it; if they are too many, every second one."""
    recent = [sample for sample in samples if sample[0] >= since_s]
    kept = (*samples[: len(samples) - len(recent)][-1:], *recent)
    return kept if len(kept) <= limits.WATCHED_SAMPLES_MAX else (*kept[:-1:2], kept[-1])
