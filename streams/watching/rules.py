"""The alert rules: pure functions of what is remembered, which say what stands now."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace

from streams import limits
from streams.events.headers import rfc3339
from streams.watching.alert import Alert
from streams.watching.reading import Reader
from streams.watching.state import Span, State
from streams.watching.thresholds import Thresholds

#: The kind of a device's own state, which it sends last when it ends a session.
_DEVICE_STATE = "device_state"


class Standing(NamedTuple):
    """What a rule says of one subject.

    `words` are those of the command that shows more, after `sightline`; `ago_s` is how long ago it began.
    """

    about: Mapping[str, str]
    says: str
    words: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    events: int = 0
    ago_s: float = 0.0


Judge = Callable[[State, Thresholds], Iterable[Standing]]


class Rule(NamedTuple):
    """An alert rule: when it stands, in words; what to do then; and what judges it.

    `needs` says what it cannot be judged without: `broker`, or `inputs` for a role that is shown recorded
    inputs; empty if the store is enough.
    """

    name: str
    stands: str
    advice: str
    judge: Judge
    needs: str = ""


def _new_flow(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    for (zone, sink), flow in state.flows.items():
        if flow.known or state.time_s - flow.at_s >= thresholds.new_flow.shown_s:
            continue
        yield Standing(
            {"zone": zone, "sink": sink},
            f"data of the restricted zone {zone} reached {sink}, which it had never reached before epoch "
            f"{flow.epoch:,}: {flow.events:,} events so far",
            ("ask", "decisions", flow.id),
            (flow.id,),
            flow.events,
            _ago_s(state, flow.at_s),
        )


def _refusals_rising(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    rising = thresholds.refusals_rising
    in_stream_time = (*state.decided.values(), *state.rejected.values())
    judged = [(counted, state.time_s, state.began_s) for counted in in_stream_time]
    began_s = state.now_s if state.arriving_since_s is None else state.arriving_since_s
    judged += [(counted, state.now_s, began_s) for counted in state.arrived.values()]
    for counted, now_s, began_s in judged:
        recent = _events(counted.spans, now_s - rising.recent_s)
        earlier = _events(counted.spans, now_s - rising.recent_s - rising.before_s) - recent
        compared_s = min(rising.before_s, now_s - rising.recent_s - began_s)
        # What has not been watched for as long as it is compared over cannot have risen.
        if compared_s < rising.recent_s or recent < rising.events_min:
            continue
        usual = earlier * rising.recent_s / compared_s
        if recent >= rising.factor * usual:
            where = f" at {counted.sink}" if counted.sink else ""
            yield Standing(
                {"refused_by": counted.rule},
                f"refused{where}: {recent:,} events in {rising.recent_s:g} s by the rule {counted.rule!r}, "
                f"against {usual:,.3g} before",
                ("ask", "why", counted.id) if counted.id else ("ask", "crossings", "--refused"),
                (counted.id,) if counted.id else (),
                recent,
            )


def _unconfigured(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    since_s = state.time_s - thresholds.unconfigured.recent_s
    for counted in state.decided.values():
        events = _events(counted.spans, since_s) if counted.verdict == "unconfigured" else 0
        if events:
            yield Standing(
                {"sink": counted.sink, "refused_by": counted.rule},
                f"{events:,} events for {counted.sink} are unconfigured: {counted.rule}",
                ("ask", "why", counted.id),
                (counted.id,),
                events,
                _ago_s(state, next(span.at_s for span in counted.spans if span.at_s > since_s)),
            )


def _device_stopped(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    silent_s = thresholds.device_stopped.silent_s
    for name, device in state.devices.items():
        # A device that ended its session sent its own state last.
        if state.time_s - device.at_s < silent_s or device.kind == _DEVICE_STATE:
            continue
        yield Standing(
            {"device": name},
            f"nothing came from the device {name} in {silent_s:g} s of epochs, and it ended no session",
            ("ask", "why", device.id) if device.id else ("ask", "missing"),
            (device.id,) if device.id else (),
            ago_s=_ago_s(state, device.at_s),
        )


def _lag_growing(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    growing = thresholds.lag_growing
    if not state.positions:
        return
    now_s, positions = state.positions[-1]
    for reader, position in positions.items():
        behind_s = _behind_s(state, reader)
        earlier = [
            sample[reader].records
            for at_s, sample in state.positions
            if at_s <= now_s - growing.window_s and reader in sample
        ]
        if position.records and behind_s >= growing.behind_s and earlier and position.records > earlier[-1]:
            yield Standing(
                {"reader": reader.agent, "topic": reader.topic, "partition": str(reader.partition)},
                f"{reader.agent} is {position.records:,} records and at least {behind_s:,.0f} s behind on "
                f"partition {reader.partition} of {reader.topic}, and the distance grows",
                ("status",),
                ago_s=behind_s,
            )


def _behind_s(state: State, reader: Reader) -> float:
    """For how long, at least, the reader's next record has been there: since the log's end was beyond it."""
    now_s, positions = state.positions[-1]
    next_offset = positions[reader].next_offset
    beyond = [
        at_s
        for at_s, sample in state.positions
        if reader in sample and sample[reader].end_offset > next_offset
    ]
    return now_s - beyond[0] if beyond else 0.0


def _lineage_incomplete(state: State, _thresholds: Thresholds) -> Iterator[Standing]:
    if state.incomplete:
        events = sum(span.events for span in state.incomplete)
        yield Standing(
            {},
            f"{events:,} derived events have a parent that the store lacks",
            ("ask", "completeness"),
            tuple(id_ for _, id_ in state.incomplete_ids),
            events,
            _ago_s(state, state.incomplete[0].at_s),
        )


def _model_overdue(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    by_ns = state.now_ns + int(thresholds.model_overdue.ahead_s * 1e9)
    for model, (version, retrain_by_ns) in state.models.items():
        if 0 < retrain_by_ns < by_ns:
            date = datetime.fromtimestamp(retrain_by_ns / 1e9, UTC).date()
            yield Standing(
                {"model": model},
                f"the newest version of the model {model} was to be trained again by {date}",
                ("ask", "reach", version),
                (version,),
                ago_s=(state.now_ns - retrain_by_ns) / 1e9,
            )


def _feedback_bad(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    limit = thresholds.feedback_bad
    since_s = state.time_s - limit.recent_s
    given, bad = _events(state.feedback, since_s), _events(state.bad, since_s)
    if given and given >= limit.events_min and bad >= limit.bad_min * given:
        yield Standing(
            {},
            f"{bad:,} of {given:,} feedback events in {limit.recent_s:g} s found fault with an answer",
            ("sql", "FROM models ORDER BY version DESC"),
            events=bad,
            ago_s=_ago_s(state, next(span.at_s for span in state.bad if span.at_s > since_s)),
        )


def _consent_late(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    for (wearer, purpose), late in state.late.items():
        yield Standing(
            {"wearer": wearer, "purpose": purpose},
            f"data of {wearer} passed for {purpose} {late.late_s:,.1f} s after the wearer took the consent "
            f"back; {thresholds.consent_late.within_s:g} s are allowed",
            ("ask", "decisions", late.id),
            (late.id,),
            late.events,
            _ago_s(state, late.at_s),
        )


def _no_epoch(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    silent_s = thresholds.no_epoch.silent_s
    if state.now_s - state.seen_s >= silent_s:
        yield Standing(
            {},
            f"no epoch was published for {silent_s:g} s: nothing new can be asked about, and no other alert "
            "on the store can begin",
            ("status",),
            ago_s=state.now_s - state.seen_s,
        )


def _disk_filling(state: State, thresholds: Thresholds) -> Iterator[Standing]:
    if not state.disks:
        return
    limit = thresholds.disk_filling
    (first_s, first), (now_s, disk) = state.disks[0], state.disks[-1]
    used_bytes = first.free_bytes - disk.free_bytes
    # A shorter time says nothing about the next hour.
    is_long = now_s - first_s >= limit.window_s / 2
    full_s = disk.free_bytes * (now_s - first_s) / used_bytes if is_long and used_bytes > 0 else None
    free = disk.free_bytes / max(disk.total_bytes, 1)
    if free < limit.free_min:
        says = f"{free:.1%} of the store's disk is free, {limit.free_min:.1%} are needed"
    elif full_s is not None and full_s < limit.full_within_s:
        says = (
            f"the store's disk fills so fast that it is full within {limit.full_within_s / 60:,.0f} minutes"
        )
    else:
        return
    yield Standing({}, says, ("status",))


def _ago_s(state: State, at_s: float) -> float:
    """How long ago a moment in stream time was."""
    return state.time_s - at_s + state.now_s - state.seen_s


def _events(spans: Iterable[Span], since_s: float) -> int:
    return sum(span.events for span in spans if span.at_s > since_s)


RULES: tuple[Rule, ...] = (
    Rule(
        "new-flow",
        "data of a restricted zone passed into a sink that this zone had never reached",
        "see whether the policy means this; if not, publish one that forbids it and stop the sink. If so, "
        "name the flow under `known` in the file of `--rules`",
        _new_flow,
    ),
    Rule(
        "refusals-rising",
        "a rule refuses many more events than before",
        "read the reason; a new device without pairing, a changed consent and a new policy are usual causes",
        _refusals_rising,
    ),
    Rule(
        "unconfigured",
        "data belongs to no zone of the policy, or its sink is none; it is refused",
        "add what is missing to the policy (`sightline policy check`, `sightline policy publish`)",
        _unconfigured,
    ),
    Rule(
        "device-stopped",
        "a device sends nothing, while others do, and has not ended its session",
        "look at the device's battery, its link, and its journal",
        _device_stopped,
    ),
    Rule(
        "lag-growing",
        "an agent or the store's writer is behind and falls further behind",
        "start another worker or writer, up to one for each partition (docs/scaling.md)",
        _lag_growing,
        "broker",
    ),
    Rule(
        "lineage-incomplete",
        "derived events have parents that the store does not know",
        "compare what was sent with what is stored (`sightline ledger`); data may have been deleted unread",
        _lineage_incomplete,
    ),
    Rule(
        "model-overdue",
        "the newest version of a model is older than its policy lets it become",
        "give the training what it needs to make a version, or take the model out of service",
        _model_overdue,
    ),
    Rule(
        "feedback-bad",
        "much of the recent feedback finds fault with answers",
        "compare the accuracy of the newest generations; serve an earlier version until it is understood",
        _feedback_bad,
    ),
    Rule(
        "consent-late",
        "data passed by a consent that its wearer had taken back",
        "see which agent was behind when it passed, tell the wearer, and take what was made of it out of use",
        _consent_late,
        "inputs",
    ),
    Rule(
        "no-epoch",
        "the store was not published for some time",
        "see whether `sightline snapshots` runs, and whether anything arrives (`sightline status`)",
        _no_epoch,
    ),
    Rule(
        "disk-filling",
        "the disk of the store is nearly full, or will soon be",
        "make room, or move the store to a larger disk; the writer waits and loses nothing while it is full",
        _disk_filling,
    ),
)


def judge(
    state: State, thresholds: Thresholds, before: Iterable[Alert] = ()
) -> tuple[tuple[Alert, ...], int]:
    """Return the alerts that stand, and how many more do that are left out (beyond ALERTS_MAX).

    `before` are those that stood at the last reading; what still stands keeps the time when it began.
    """
    former = {alert.key: alert for alert in before}
    standing: dict[object, Alert] = {}
    left_out = 0
    for rule in RULES:
        if getattr(thresholds, rule.name.replace("-", "_")).off:
            continue
        for each in rule.judge(state, thresholds):
            alert = _alert(rule, each, state)
            if alert.key in standing:
                continue
            if len(standing) >= limits.ALERTS_MAX:
                left_out += 1
                continue
            if (begun := former.get(alert.key)) is not None:
                alert = replace(alert, since=begun.since, epoch=begun.epoch)
            standing[alert.key] = alert
    return tuple(standing.values()), left_out


def _alert(rule: Rule, standing: Standing, state: State) -> Alert:
    return Alert(
        rule=rule.name,
        about=standing.about,
        since=rfc3339(state.now_ns - int(max(standing.ago_s, 0.0) * 1e9)),
        epoch=state.epoch,
        says=standing.says,
        evidence=standing.evidence,
        events=standing.events,
        advice=rule.advice,
        ask=shlex.join(("sightline", *standing.words)),
    )
