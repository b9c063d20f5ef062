-- Runs of events by whose they are, their zone, kind and time, the oldest first; with how many there are in all.
SELECT source || '/' || stream || '/' || "first" || CASE WHEN revision > 0 THEN '.' || revision ELSE '' END AS id,
    "count" AS events, kind, zone, wearer, t_first_ns AS since_ns, t_last_ns AS until_ns, count(*) OVER () AS runs, (sum("count") OVER ())::BIGINT AS all_events
FROM events
WHERE ($wearer = '' OR wearer = $wearer) AND ($zone = '' OR zone = $zone) AND ($kind = '' OR kind = $kind)
    AND t_last_ns >= $since_ns AND t_first_ns <= $until_ns
    AND (NOT $by_label OR list_contains($labels, policy_version || label))
ORDER BY t_first_ns, source, stream, "first", revision LIMIT $limit
