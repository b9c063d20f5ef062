-- What was decided about events of which kind, in classes that a policy can tell apart, and when last.
SELECT coalesce(nullif(regexp_extract(attributes, '^kind=([^ ]+)', 1), ''), kind, '') AS kind, attributes <> '' OR coalesce(captured, false) AS captured,
    policy_version, attributes, zone, label, sink, purpose, verdict, passed, mode, sum("count")::BIGINT AS events,
    max(coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns)) AS latest_ns
FROM decisions LEFT JOIN streams USING (source, stream) GROUP BY ALL ORDER BY ALL
