"""The operations that move data of events, in the order in which the data takes its way."""

from __future__ import annotations

from streams.recorder.answering import READERS, TOPIC_READER
from streams.recorder.operation import Counted, Operation
from streams.topology import (
    ANSWERS,
    CAPTURED,
    CONSENTS,
    DERIVED,
    EXAMPLES,
    LINEAGE,
    MODELS,
    NOTICES,
    REJECTED,
    STATE,
    STORE,
    TRAINING_RUN,
    ZONED,
)

_TRANSACTION = "streams/kafka/transaction.py:_sent:send_batch"
_FETCHED = "streams/kafka/transport.py:_fetched:fetched_records"
#: How the writer's DuckDB reads segments for folds, lookups and indexes.
_SEGMENTS_READ = (
    "streams/snapshots/files/chunks.py:scan:SQL read_parquet",
    "streams/snapshots/files/index.py:<module>:SQL read_parquet",
    "streams/snapshots/files/index.py:<module>:SQL read_parquet 2",
    "streams/snapshots/intake/lookup.py:Lookup._stored:SQL read_parquet",
    "streams/snapshots/folds/fold.py:Fold.__init__:duckdb.connect",
    "streams/snapshots/files/index.py:rows_of:SQL ATTACH",
    "streams/snapshots/erasing/arriving.py:_there:duckdb.connect",
    "streams/snapshots/erasing/arriving.py:_withhold:duckdb.connect",
    "streams/snapshots/erasing/rewriting.py:Rewriting.__enter__:duckdb.connect",
    "streams/snapshots/erasing/rewriting.py:Rewriting._touched:SQL read_parquet",
    "streams/snapshots/erasing/rewriting.py:Rewriting._again:ParquetFile",
)
_PLAYED, _HEARD = "recordings are played", "devices read answers and notices"
_CAPTURED_READ, _STATE_READ = "agent reads captured batches", "agents read states"
_CONSENTS_READ, _MODELS_READ = "workers read consents", "workers read models"
_EXAMPLES_READ, _MODEL_CALLED = "training reads examples", "assistant calls its model"
_UNDERSTOOD, _LINEAGE_READ = "feedback calls the model", "writer reads lineage"
_JOURNALS_READ = "replay reads journals"
_LOOKED_AT = "reviewers read queries"
_FOLDED = "writer reads segments"
#: What the stages of the agent `glasses` work on: its fetch, or the journal that a replay reads instead.
_FETCH = (_CAPTURED_READ, _JOURNALS_READ, _STATE_READ, _CONSENTS_READ)

_DEVICES = (
    Operation(
        name=_PLAYED,
        direction="read",
        asset="recording",
        step="device-sim",
        sites=(
            "device_sim/recordings/__init__.py:samples:open",
            "device_sim/recordings/__init__.py:rows:open",
        ),
    ),
    Operation(
        name=_HEARD,
        direction="read",
        asset="topic",
        step="device-sim",
        sites=("device_sim/kafka.py:KafkaLink._hear:getmany", "device_sim/kafka.py:KafkaLink.look:getmany"),
    ),
    Operation(
        name="devices keep journals",
        direction="write",
        asset="journal",
        step="device-sim",
        reads=(_PLAYED,),
        # A line of a journal is the record that is sent, under the same id.
        recorded_in=("events",),
        sites=("device_sim/files.py:Journal.__init__:files.append", "device_sim/files.py:Journal._cut:open"),
    ),
    Operation(
        name="devices send captured batches",
        direction="write",
        asset="topic",
        step="device-sim",
        # `origin` names the recording; feedback names the answer that was heard.
        reads=(_PLAYED, _HEARD),
        recorded_in=("events", "edges"),
        counted="events",
        key=CAPTURED,
        sites=("device_sim/kafka.py:KafkaLink._send_block:send_batch",),
    ),
)


def _read(name: str, step: str, *sites: str, counted: Counted = "", key: str = "") -> Operation:
    return Operation(
        name=name, direction="read", asset="topic", step=step, sites=sites, counted=counted, key=key
    )


_AGENTS_READ = (
    _read(_CAPTURED_READ, "zones", _FETCHED, counted="events", key=CAPTURED),
    _read(_STATE_READ, "agents", TOPIC_READER),
    _read(_CONSENTS_READ, "agents", TOPIC_READER, counted="inputs", key="consent-takeup"),
    _read(_MODELS_READ, "agents", TOPIC_READER, counted="inputs", key="model-takeup"),
    _read(_EXAMPLES_READ, "training", _FETCHED, TOPIC_READER, counted="inputs", key="example-order"),
    Operation(
        name=_MODEL_CALLED,
        direction="read",
        asset="model",
        step="assistant",
        counted="edges",
        key="answer",
        sites=("streams/assistant/stage.py:_predicted:predict",),
    ),
    Operation(
        name="assistant asks a candidate in shadow",
        direction="read",
        asset="model",
        step="assistant",
        reason="nobody hears what it answers; rows of feedback name the version, and no edge does",
        sites=("streams/assistant/stage.py:_predicted:predict 2",),
    ),
    Operation(
        name=_UNDERSTOOD,
        direction="read",
        asset="model",
        step="feedback",
        counted="edges",
        key="example",
        sites=("streams/feedback/stage.py:run:predict",),
    ),
)


def _output(topic: str, step: str, reads: tuple[str, ...], *recorded_in: str) -> Operation:
    """A topic that a stage writes; every crossing into it is a decision."""
    return Operation(
        name=f"{step} writes {topic}",
        direction="write",
        asset="topic",
        step=step,
        reads=reads,
        recorded_in=("decisions", *recorded_in),
        counted="decisions",
        key=topic,
        sites=(_TRANSACTION,),
    )


_AGENTS_WRITE = (
    _output(ZONED, "zones", _FETCH, "events"),
    _output(CONSENTS, "zones", _FETCH, "events"),
    Operation(
        name=f"zones writes {NOTICES}",
        direction="write",
        asset="topic",
        step="zones",
        reads=_FETCH,
        # A record names the event at which the notice was due, or that states the word of the receipt.
        recorded_in=("record",),
        sites=(_TRANSACTION,),
    ),
    _output(DERIVED, "processing", _FETCH, "events", "edges"),
    _output(ANSWERS, "assistant", (*_FETCH, _MODELS_READ, _MODEL_CALLED), "events", "edges"),
    _output(EXAMPLES, "feedback", (*_FETCH, _MODELS_READ, _UNDERSTOOD), "events", "edges"),
    _output(MODELS, "training", (_EXAMPLES_READ, _CONSENTS_READ, _STATE_READ), "models", "edges"),
    Operation(
        name=f"agents write {REJECTED}",
        direction="write",
        asset="topic",
        step="agents",
        reads=(*_FETCH, _EXAMPLES_READ),
        recorded_in=("rejected",),
        counted="rejected",
        sites=(_TRANSACTION,),
    ),
    Operation(
        name=f"agents write {LINEAGE}",
        direction="write",
        asset="topic",
        step="agents",
        reads=(*_FETCH, _EXAMPLES_READ),
        recorded_in=("epochs",),
        counted="epochs",
        sites=(_TRANSACTION,),
    ),
    Operation(
        name=f"agents write {STATE}",
        direction="write",
        asset="state",
        step="agents",
        reads=(*_FETCH, _EXAMPLES_READ),
        # A checkpoint names the offset up to which its states were computed.
        recorded_in=("record",),
        sites=(_TRANSACTION,),
    ),
    Operation(
        name="operators publish statements, pairings and policies",
        direction="write",
        asset="topic",
        step="sightline consent, pair, policy",
        recorded_in=("inputs", "policies"),
        counted="inputs",
        key="policy-takeup",
        sites=("streams/kafka/publish.py:_write:send_and_wait",),
    ),
    Operation(
        name=_LOOKED_AT,
        direction="read",
        asset="topic",
        step="sightline review",
        sites=(TOPIC_READER,),
    ),
    Operation(
        name="reviewers judge answers",
        direction="write",
        asset="topic",
        step="sightline review",
        reads=(_LOOKED_AT,),
        # A review is an event that names the answer; the audit log has who looked at which query.
        recorded_in=("events", "reads.jsonl"),
        sites=("streams/kafka/publish.py:_write:send_and_wait", "streams/cli/review.py:_keep:files.append"),
    ),
    Operation(
        name="a training run fits a model",
        direction="write",
        asset="training",
        step="training",
        reads=(_EXAMPLES_READ, _CONSENTS_READ),
        # The row has the digest of the manifest, which names the examples; `decisions` has those of the gate.
        recorded_in=("training_runs", "decisions"),
        counted="decisions",
        key=TRAINING_RUN,
        sites=(
            "streams/pipeline/fitting.py:_fitted:fit",
            "streams/training/run.py:fit_and_measure:fit",
            "streams/training/outliers.py:_compare:fit",
            "streams/training/outliers.py:_compare:predict",
            "streams/models/intent.py:fit:fit",
            "streams/worker/child.py:_Child.ask:send",
            "streams/worker/child.py:_serve:send",
        ),
    ),
)

_REPLAY = (
    Operation(
        name=_JOURNALS_READ,
        direction="read",
        asset="journal",
        step="sightline replay",
        sites=(
            "streams/events/journal.py:lines_by_place:open",
            "streams/replay/arrivals.py:JournalArrivals.read:open",
            "streams/replay/known.py:journal_kinds:open",
            "streams/replay/pairs.py:pairs:open",
        ),
    ),
    Operation(
        name="replay writes derived records",
        direction="write",
        asset="export",
        step="sightline replay --out",
        reads=(_JOURNALS_READ,),
        # Every line has the id and the parents of its events.
        recorded_in=("record",),
        sites=("streams/replay/derived.py:DerivedLines.__init__:files.create",),
    ),
)


def _of_writer(
    name: str, reads: tuple[str, ...], recorded_in: str, sites: tuple[str, ...], counted: Counted = ""
) -> Operation:
    """A file of the store: its row says of which epochs it is made, and these say of which offsets."""
    return Operation(
        name=name,
        direction="write",
        asset="store",
        step="snapshots",
        reads=reads,
        recorded_in=(recorded_in,),
        counted=counted,
        sites=sites,
    )


_WRITER = (
    _read(_LINEAGE_READ, "snapshots", TOPIC_READER, counted="epochs"),
    Operation(name=_FOLDED, direction="read", asset="store", step="snapshots", sites=_SEGMENTS_READ),
    Operation(
        name="writer writes segments",
        direction="write",
        asset="store",
        step="snapshots",
        reads=(_LINEAGE_READ, _JOURNALS_READ),
        recorded_in=("decisions", "epochs"),
        counted="decisions",
        key=STORE,
        sites=(
            "streams/snapshots/files/output.py:Output._write:files.create",
            "streams/snapshots/files/output.py:Output._write:write_table",
            "streams/snapshots/files/output.py:parquet:ParquetWriter",
        ),
    ),
    _of_writer(
        "writer keeps waiting rows",
        (_LINEAGE_READ,),
        "epochs",
        (
            "streams/snapshots/epochs/books.py:create:duckdb.connect",
            "streams/snapshots/epochs/books.py:create:SQL ATTACH",
            "streams/snapshots/epochs/hot.py:Hot.open:duckdb.connect",
            "streams/snapshots/epochs/hot.py:Hot.rebuild:SQL ATTACH",
            "streams/snapshots/epochs/hot.py:Hot.rebuild:SQL COPY",
        ),
    ),
    _of_writer(
        "writer folds segments",
        (_FOLDED,),
        "segments",
        (
            "streams/snapshots/folds/fold.py:Fold._written:files.create",
            "streams/snapshots/folds/fold.py:Fold._written:write_table",
        ),
    ),
    _of_writer(
        "writer takes rows out of files",
        (_FOLDED,),
        "erasures",
        (
            "streams/snapshots/erasing/rewriting.py:Rewriting._index:files.create",
            "streams/snapshots/erasing/rewriting.py:Rewriting._index:write_table",
        ),
    ),
    _of_writer(
        "writer makes indexes",
        (_FOLDED,),
        "indexes",
        ("streams/snapshots/files/index.py:_attached:SQL ATTACH",),
    ),
    _of_writer(
        "writer takes an earlier store over",
        (_FOLDED,),
        "epochs",
        (
            "streams/snapshots/upgrade/migrations.py:_asked:duckdb.connect",
            "streams/snapshots/upgrade/takeover.py:Old.__init__:SQL ATTACH",
        ),
    ),
    _of_writer(
        "writer publishes catalogs",
        (_FOLDED,),
        "epochs",
        (
            "streams/snapshots/epochs/catalog.py:write:files.create",
            "streams/snapshots/epochs/catalog.py:write:SQL ATTACH",
            "streams/snapshots/epochs/catalog.py:write:files.settle",
            "streams/snapshots/epochs/catalog.py:_files_view:SQL read_parquet",
        ),
        "epochs",
    ),
)


OPERATIONS: tuple[Operation, ...] = (*_DEVICES, *_AGENTS_READ, *_AGENTS_WRITE, *_REPLAY, *_WRITER, *READERS)
"""All of them. Each has a name of its own."""
