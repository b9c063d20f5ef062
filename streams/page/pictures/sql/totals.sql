-- How much there is in all, and from when to when it was captured.
SELECT count(DISTINCT source) FILTER (WHERE captured) AS devices, count(DISTINCT nullif(wearer, '')) AS wearers,
    count(DISTINCT (source, stream)) AS streams, coalesce(sum("count") FILTER (WHERE captured), 0)::BIGINT AS captured,
    coalesce(sum("count") FILTER (WHERE NOT captured), 0)::BIGINT AS derived,
    coalesce(sum("count") FILTER (WHERE zone IN ('', 'unconfigured') OR label = ''), 0)::BIGINT AS unlabelled,
    strftime(min(t_first) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS since,
    strftime(max(t_last) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS until
FROM events JOIN streams USING (source, stream, kind)
