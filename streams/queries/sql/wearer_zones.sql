-- The zones that events of a wearer are in.
SELECT zone, sum("count")::BIGINT AS events, count(DISTINCT kind) AS kinds, min(t_first_ns) AS since_ns, max(t_last_ns) AS until_ns
FROM events WHERE wearer = $wearer GROUP BY zone ORDER BY events DESC, zone
