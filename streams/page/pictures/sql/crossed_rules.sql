-- By which rule what went from which zone to which sink, or did not; with the first event of the latest.
SELECT zone, sink, purpose, verdict, passed, rule, policy_version, sum("count")::BIGINT AS events,
    arg_max(id, t_ns) AS id, strftime(max(t) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS latest
FROM decisions WHERE coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns) >= $since_ns
GROUP BY zone, sink, purpose, verdict, passed, rule, policy_version
ORDER BY zone, sink, events DESC, rule
