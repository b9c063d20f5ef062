-- What was not allowed, by all that a decision looked at, the most events first; with the first event of the latest.
SELECT sink, purpose, zone, verdict, passed, rule, policy_version, attributes, consent_state, wearer,
    sum("count")::BIGINT AS events, count(*) AS decisions, arg_max(id, t_ns) AS id,
    strftime(max(t) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS latest
FROM decisions WHERE verdict <> 'allow' AND coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) >= $since_ns
GROUP BY ALL ORDER BY events DESC, sink, rule, zone, id LIMIT 1000
