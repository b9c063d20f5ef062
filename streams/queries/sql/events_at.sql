-- Runs of events that may hold number $number of one stream, in any revision.
SELECT revision, "first", step, "count", kind, zone, label, rule, policy_version, wearer, consent, session, t_first_ns, t_last_ns,
    topic, "partition", "offset", bytes, digest, split_from, origin, epoch
FROM read_parquet($files) e ANTI JOIN over_classes k ON e.policy_version = k.policy_version AND e.zone = k.zone AND k.label = e.label
    AND e.source <> 'training' AND coalesce(nullif(e.appended_ns, 0), e.t_last_ns) <= k.over_ns
WHERE source = $source AND stream = $stream AND "first" <= $number AND "first" + step * ("count" - 1) >= $number
ORDER BY "first", epoch
