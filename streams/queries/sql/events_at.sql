-- Runs of events that may hold numbers $low ... $high of one stream and revision.
SELECT "first", step, "count", kind, zone, label, rule, policy_version, wearer, consent, session, t_first_ns, t_last_ns,
    topic, "partition", "offset", bytes, digest, split_from, origin, epoch
FROM (FROM read_parquet($files) WHERE readable_events)
WHERE source = $source AND stream = $stream AND revision = $revision AND "first" <= $high AND "first" + step * ("count" - 1) >= $low
ORDER BY "first", epoch
