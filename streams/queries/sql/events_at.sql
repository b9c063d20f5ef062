-- Runs of events that may hold number $number of one stream, in any revision.
SELECT revision, "first", step, "count", kind, zone, label, rule, policy_version, wearer, consent, session, t_first_ns, t_last_ns,
    topic, "partition", "offset", bytes, digest, split_from, origin, epoch
FROM read_parquet($files)
WHERE source = $source AND stream = $stream AND "first" <= $number AND "first" + step * ("count" - 1) >= $number
ORDER BY "first", epoch
