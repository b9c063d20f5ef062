-- How much there is of each kind of event, and in how many zones.
SELECT kind, topic, count(DISTINCT source) AS devices, sum("count")::BIGINT AS events, count(DISTINCT zone) AS zones,
    strftime(max(t_last) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS until
FROM events GROUP BY kind, topic ORDER BY topic, kind
