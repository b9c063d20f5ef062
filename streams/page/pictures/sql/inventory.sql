-- Every stream by kind: of how many devices, how much, of which zones and policies, and when last.
SELECT kind, stream, count(DISTINCT source) AS devices, sum("count")::BIGINT AS events, any_value(topic) AS topic,
    list_sort(list(DISTINCT zone)) AS zones, list_sort(list(DISTINCT policy_version)) AS policies,
    sum("count") FILTER (WHERE zone IN ('', 'unconfigured') OR label = '')::BIGINT AS unlabelled,
    strftime(max(t_last) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS last_seen
FROM events GROUP BY kind, stream ORDER BY topic, kind, stream
