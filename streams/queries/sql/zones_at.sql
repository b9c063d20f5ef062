-- Zones of the runs of events that may hold numbers $low ... $high of one stream and revision.
SELECT "first", step, "count", zone, label, policy_version, wearer
FROM (FROM read_parquet($files) WHERE readable_events)
WHERE source = $source AND stream = $stream AND revision = $revision AND "first" <= $high AND "first" + step * ("count" - 1) >= $low
