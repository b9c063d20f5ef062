-- What was decided about events of which kind, in classes that a policy can tell apart, and when last. A derived stream that
-- the role is not shown, or of which nothing was stored, begins with the name of its kind.
SELECT coalesce(nullif(regexp_extract(attributes, '^kind=([^ ]+)', 1), ''), kind, split_part(regexp_replace(stream, '~.*', ''), '-', 1)) AS kind, attributes <> '' OR coalesce(captured, false) AS captured,
    policy_version, attributes, zone, label, sink, purpose, verdict, passed, mode, sum("count")::BIGINT AS events,
    max(coalesce(nullif(at_ns, 0), nullif(appended_ns, 0), t_ns)) AS latest_ns
FROM decisions LEFT JOIN streams USING (source, stream) GROUP BY ALL ORDER BY ALL
