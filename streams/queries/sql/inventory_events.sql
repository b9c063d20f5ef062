-- What is stored of which kind, by where it lies.
SELECT kind, coalesce(captured, false) AS captured, regexp_replace(stream, '~.*', '') AS stream, topic, zone, policy_version, label <> '' AS labelled,
    list(DISTINCT source) AS sources, sum("count")::BIGINT AS events, max(t_last_ns) AS latest_ns
FROM events LEFT JOIN (SELECT source, stream, captured FROM streams) USING (source, stream) GROUP BY ALL ORDER BY ALL
