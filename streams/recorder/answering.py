"""The operations of whoever asks: reads of the store, and what leaves it as an answer or as an export."""

from __future__ import annotations

from streams.audit_log import AUDIT_LOG
from streams.recorder.operation import Asset, Operation

TOPIC_READER = "streams/kafka/reader.py:_getmany:getmany"
_STORE_READ = "questions read the store"
_ANSWERED = (
    "streams/printing.py:say:echo",
    "streams/printing.py:say_exactly:echo",
    "streams/printing.py:say_json:echo",
    "streams/printing.py:say_tree:print",
    "streams/page/app.py:_Gate.__call__.guarded:send",
    "streams/watching/sending.py:Sender._post:asyncio.open_connection",
)


def _leaves(name: str, asset: Asset, step: str, sites: tuple[str, ...]) -> Operation:
    """Data that leaves the store: who asked what of which epoch stands in the audit log."""
    return Operation(
        name=name,
        direction="write",
        asset=asset,
        step=step,
        reads=(_STORE_READ,),
        recorded_in=(AUDIT_LOG,),
        sites=sites,
    )


READERS: tuple[Operation, ...] = (
    Operation(
        name=_STORE_READ,
        direction="read",
        asset="store",
        step="questions",
        sites=(
            "streams/queries/boundary.py:Boundary._rows_of:SQL read_parquet",
            "streams/queries/boundary.py:Boundary._selected:SQL read_parquet",
            "streams/queries/boundary.py:Boundary._load:SQL read_parquet",
            "streams/queries/boundary.py:Boundary._load:SQL read_parquet 2",
            "streams/queries/instance.py:make:duckdb.connect",
            "streams/queries/lookup.py:Lookup._attached:SQL ATTACH",
            "streams/queries/lookup.py:Lookup._parquet:SQL read_parquet",
            "streams/queries/extent.py:<module>:SQL read_parquet",
            "streams/queries/own_rows.py:origin_of:SQL read_parquet",
            "streams/queries/own.py:told:duckdb.connect",
            "streams/queries/joined.py:join:SQL ATTACH",
            "streams/queries/joined.py:_files:SQL read_parquet",
            "streams/queries/parts.py:_attach:SQL ATTACH",
            "streams/queries/store.py:Store.open:duckdb.connect",
        ),
    ),
    _leaves(
        "exports for DuckDB",
        "export",
        "sightline snapshots export",
        (
            "streams/queries/export.py:Exporting.write:files.deliver",
            "streams/queries/export.py:Exporting._fill:duckdb.connect",
            "streams/queries/export.py:Exporting._fill:SQL ATTACH",
        ),
    ),
    _leaves(
        "exports in standards",
        "export",
        "sightline export",
        (
            "streams/queries/standards/writing.py:write_standard:files.added",
            "streams/queries/anonymised.py:write_anonymised:files.added",
            "streams/queries/anonymised.py:write_anonymised:files.added 2",
            "streams/queries/anonymised.py:_written:write_table",
        ),
    ),
    _leaves(
        "exports of statements",
        "export",
        "sightline sql --out",
        ("streams/cli/sql.py:_written:files.written",),
    ),
    _leaves(
        "exports of pages",
        "export",
        "sightline page --export",
        ("streams/page/exporting.py:_Export.put:files.create",),
    ),
    _leaves(
        "exports of reports",
        "export",
        "sightline report",
        (
            "streams/page/report/writing.py:write_report:files.written",
            "streams/page/report/writing.py:write_report:files.added",
            "streams/cli/paper.py:print_to_pdf.printed:files.create",
            "streams/cli/paper.py:print_to_pdf.printed:read_bytes",
            "streams/cli/paper.py:_run:subprocess.run",
        ),
    ),
    _leaves(
        "exports to the person",
        "export",
        "sightline rights export",
        (
            TOPIC_READER,
            "streams/cli/rights/handing.py:Handing.put:files.create",
            "streams/cli/rights/handing.py:Handing.whole:files.create",
            "streams/cli/rights/handing.py:Handing.finish:files.create",
            "streams/cli/rights/handing.py:Handing.finish:files.create 2",
        ),
    ),
    _leaves("answers about restricted zones", "answer", "sightline ask, sql, page, watch", _ANSWERED),
    Operation(
        name="answers about other zones",
        direction="write",
        asset="answer",
        step="sightline ask, sql, page, watch",
        reads=(_STORE_READ,),
        reason="the audit log has reads of the zones that the policy restricts, and no others",
        sites=_ANSWERED,
    ),
    Operation(
        name="ledger reads topics, journals and the store",
        direction="read",
        asset="journal",
        step="sightline ledger",
        reason="it prints counts and the ids of what is missing, and nobody records that it was run",
        sites=(
            TOPIC_READER,
            "streams/ledger/journal.py:_lines:open",
            "streams/ledger/sources.py:StoreReader.__init__:duckdb.connect",
            "streams/ledger/sources.py:StoreReader.__init__:SQL ATTACH",
        ),
    ),
)
