-- What of a wearer is stored, by stream.
SELECT source, stream, kind, sum("count")::BIGINT AS events, min(t_first_ns) AS since_ns, max(t_last_ns) AS until_ns
FROM events WHERE wearer = $wearer GROUP BY source, stream, kind ORDER BY source, stream, kind
