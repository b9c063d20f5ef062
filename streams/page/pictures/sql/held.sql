-- How many events there are of each wearer in each zone.
SELECT wearer, zone, sum("count")::BIGINT AS events, count(DISTINCT kind) AS kinds,
    strftime(max(t_last) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS until
FROM events GROUP BY ALL ORDER BY wearer, events DESC, zone
