-- Decisions about number $number of one stream, whatever its revision.
SELECT sink, purpose, verdict, passed, mode, zone, label, rule, policy_version, attributes, consent, consent_state, wearer, t_ns,
    appended_ns, at_ns
FROM read_parquet($files) e ANTI JOIN over_classes k ON e.policy_version = k.policy_version AND e.zone = k.zone AND k.label = e.label
    AND e.source <> 'training' AND coalesce(nullif(e.appended_ns, 0), e.t_ns) <= k.over_ns
WHERE source = $source AND stream = $stream
    AND "first" <= $number AND "first" + step * ("count" - 1) >= $number AND ($number - "first") % step = 0
ORDER BY ALL
