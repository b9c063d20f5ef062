-- Decisions about number $number of one stream, whatever its revision.
SELECT sink, purpose, verdict, passed, mode, zone, label, rule, policy_version, attributes, consent, consent_state, wearer, t_ns,
    appended_ns, at_ns
FROM read_parquet($files)
WHERE source = $source AND stream = $stream
    AND "first" <= $number AND "first" + step * ("count" - 1) >= $number AND ($number - "first") % step = 0
ORDER BY ALL
