-- Why number $number of one stream was rejected; a repeat was dropped, but the event itself is stored.
SELECT stage, reason, rule, outcome, zone, policy_version, topic, "partition", "offset", digest, t_ns, wearer, epoch
FROM read_parquet($files) e ANTI JOIN over_classes k ON e.policy_version = k.policy_version AND e.zone = k.zone AND k.label = ''
    AND e.source <> 'training' AND coalesce(nullif(e.appended_ns, 0), e.t_ns) <= k.over_ns
WHERE source = $source AND stream = $stream AND outcome <> 'repeated' AND "first" <= $number AND "first" + ("count" - 1) >= $number
ORDER BY ALL
