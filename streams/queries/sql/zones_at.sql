-- Zones of the runs of events that may hold numbers $low ... $high of one stream.
SELECT "first", step, "count", zone, label, policy_version, wearer
FROM (FROM read_parquet($files) WHERE readable_events)
WHERE source = $source AND stream = $stream AND "first" <= $high AND "first" + step * ("count" - 1) >= $low
