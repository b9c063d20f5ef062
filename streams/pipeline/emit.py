"""Make the records that a fetch writes of its `Step`: outputs, rejects, consents and lineage."""

from __future__ import annotations

from operator import itemgetter

import orjson
from msgspec import to_builtins

from streams.consent.notified import acknowledged_record, notice_record, receipt_record
from streams.consent.record import word_key
from streams.consent.words import Reference, Word
from streams.events.batch import Batch
from streams.events.codec import encode
from streams.events.digest import Digests, digest, plain_digest
from streams.events.headers import DIGEST, PARENTS, RUN, SINCE, ZONE, envelope, pack_parents, root_of, tag
from streams.events.record import Outgoing, Seal
from streams.lineage import record
from streams.lineage.rows import Rows
from streams.models.version import version_key
from streams.policy.consent_record import record_id
from streams.policy.notice import PolicyNotice, notice_of
from streams.policy.policy import Policy
from streams.policy.step import Output, Reject, Step, Stretch
from streams.topology import CONSENTS, EXAMPLES, REJECTED, TOPICS, ZONED

_SINGLE = frozenset(topic.name for topic in TOPICS if topic.single)
_NONE: tuple[tuple[str, bytes], ...] = ()


def records_of(
    step: Step, policy: Policy, place: tuple[str, int], digests: Digests = plain_digest
) -> tuple[list[Outgoing], record.Written]:
    """Records of one fetch, without lineage, and what lineage says of the values of the step.

    The order is: zoned batches in partition order, outputs, rejects. `place` is the (topic, partition) that
    was read. Records go to the partition of the same number, or to partition 0 of topics that have only one
    (docs/architecture.md, Wire). `digests` makes the digests of values that are sealed.
    """
    topic, partition = place
    handed_on = [_passed(stretch, policy, digests) for stretch in step.stretches]
    values = [
        output.value if output.value is not None else encode(output.tagged.batch) for output in step.outputs
    ]
    passed = [
        placed
        for stretch, of in zip(step.stretches, handed_on, strict=True)
        for placed in _zoned(stretch, of, policy, partition)
    ]
    # The sort is stable, so parts of one batch, which share its position, stay in order.
    passed.sort(key=itemgetter(0))
    records = [each for _, each in passed]
    made = [
        record.Made(
            len(value),
            digests(output.tagged.batch.wearer_id, value)
            if policy.seals(output.topic, output.tagged.label)
            else digest(value),
        )
        for output, value in zip(step.outputs, values, strict=True)
    ]
    records += [
        _output(output, value, of, policy, partition)
        for output, value, of in zip(step.outputs, values, made, strict=True)
        if output.topic
    ]
    return (
        records
        + [
            _reject(reject, topic, partition) for reject in step.rejects if reject.cause.outcome != "repeated"
        ],
        record.Written(handed_on, made),
    )


def consent_records(step: Step) -> list[Outgoing]:
    """Records for `glasses.consents` of the consent changes in a fetch.

    Each has a key of its own, so that compaction keeps them all.
    """
    return [
        Outgoing(
            CONSENTS,
            0,
            word_key(batch.first_id),
            orjson.dumps({"v": 2, "wearer": batch.wearer_id, "event": batch.first_id, **to_builtins(word)}),
            [("content-type", b"application/json")],
            batch.appended_ns // 1_000_000,
        )
        for batch, word in step.consents
    ]


def notice_records(step: Step, policy: Policy, partition: int) -> list[Outgoing]:
    """Records for `glasses.notices` of a fetch: notices that are due, those shown, and receipts of words."""
    if not step.notices and not step.consents:
        return []
    notice, name = notice_of(policy), f"{policy.name} {policy.version}"
    return [
        acknowledged_record(each.batch, partition, each.version)
        if each.acknowledged
        else notice_record(
            each.batch,
            partition,
            version=each.version,
            policy=name,
            controller=notice.controller,
            lines=notice.lines,
        )
        for each in step.notices
    ] + [
        receipt_record(batch, partition, _receipt(batch, word, notice, name)) for batch, word in step.consents
    ]


def _receipt(batch: Batch, word: Word, notice: PolicyNotice, policy: str) -> dict[str, object]:
    """The receipt of a word, in the fields of ISO/IEC TS 27560 that a device can show.

    `record` is the id that the record has in `sightline rights consent --jsonld` too.
    """
    return {
        "record": record_id(batch.wearer_id, Reference(word.device, word.incarnation, word.number)),
        "event": batch.first_id,
        "wearer": batch.wearer_id,
        **to_builtins(word),
        "notice": word.notice or None,
        "policy": policy,
        "controller": notice.controller,
    }


def lineage_of(
    step: Step,
    written: record.Written,
    policy: Policy,
    place: tuple[str, int],
    extra: Rows,
    stamp: tuple[bytes, int],
) -> list[Outgoing]:
    """Lineage records of one fetch.

    `written` is what `records_of` returned, `extra` are rows beside those of the step, `stamp` is key and
    time in ms. Extra rows come first, so that a policy is stored before its decisions.
    """
    tables = {table: record.blocks(table, rows) for table, rows in extra.items()}
    return record.encode(
        {**tables, **record.blocks_of(step, policy.version, *place, written)}, place[1], *stamp
    )


def _passed(stretch: Stretch, policy: Policy, digests: Digests) -> record.Passed:
    """Digests of the values of a stretch; under the wearer's key if they are sealed."""
    first, source = stretch.first, stretch.source
    if not policy.seals(ZONED, first.label):
        return record.Passed(digest(source) if source else "", list(map(digest, stretch.values)))
    wearer = first.batch.wearer_id
    return record.Passed(
        digests(wearer, source) if source else "", [digests(wearer, value) for value in stretch.values]
    )


def _zoned(
    stretch: Stretch, passed: record.Passed, policy: Policy, partition: int
) -> list[tuple[int, Outgoing]]:
    """Make (position in the partition, record for `glasses.zoned`) of each batch of a stretch."""
    first = stretch.first
    key, tags = first.batch.source.encode(), tag(first.zone, policy.header(first.label))
    seal, named = None, [_NONE] * len(stretch.batches)
    if policy.seals(ZONED, first.label):
        seal = Seal(first.batch.wearer_id, policy.retention_days(first.label))
        named = [((DIGEST, each.encode()),) for each in passed.digests]
    return [
        (
            batch.position,
            Outgoing(
                ZONED,
                partition,
                key,
                value,
                [*(headers or envelope(batch)), *tags, *own],
                batch.appended_ns // 1_000_000,
                seal,
            ),
        )
        for batch, value, headers, own in zip(
            stretch.batches, stretch.values, stretch.headers, named, strict=True
        )
    ]


def _output(output: Output, value: bytes, made: record.Made, policy: Policy, partition: int) -> Outgoing:
    tagged = output.tagged
    batch = tagged.batch
    tags = tag(tagged.zone, policy.header(tagged.label))
    root = root_of(batch.source, output.parents)
    sealed = policy.seals(output.topic, tagged.label)
    # By it whoever opens a value knows which consent it needs. Of examples the value has the record's number.
    number = b"" if output.topic == EXAMPLES else b" %d" % tagged.consent_number
    since = ((SINCE, b"%d%s" % (batch.oldest_ns, number)),) if sealed else ()
    key = version_key(batch.run.first) if batch.kind == "model" else batch.source.encode()
    return Outgoing(
        output.topic,
        0 if output.topic in _SINGLE else partition,
        key,
        value,
        [
            *envelope(batch, root),
            *tags,
            (PARENTS, pack_parents(batch, output.parents)),
            *since,
            *(((DIGEST, made.digest.encode()),) if sealed else ()),
        ],
        batch.appended_ns // 1_000_000,
        Seal(batch.wearer_id, policy.retention_days(tagged.label)) if sealed else None,
    )


def _reject(reject: Reject, topic: str, partition: int) -> Outgoing:
    """Record for `glasses.rejected`: place, reason, rule and digest; the bytes only of malformed records."""
    headers = [
        ("sightline-reason", reject.cause.reason.encode()),
        ("sightline-rule", reject.cause.rule.encode()),
        ("sightline-outcome", reject.cause.outcome.encode()),
        ("sightline-stage", reject.cause.stage.encode()),
        ("sightline-place", f"{reject.topic or topic} {partition} {reject.position}".encode()),
        (DIGEST, reject.digest.encode()),
        (ZONE, reject.zone.encode()),
    ]
    if reject.run is not None:
        headers += [
            ("ce_id", f"{reject.source}/{reject.stream}/{reject.run.first}".encode()),
            (RUN, f"{reject.run.first} {reject.run.step} {reject.run.count}".encode()),
        ]
    return Outgoing(REJECTED, partition, reject.key, reject.value, headers, reject.appended_ns // 1_000_000)
