-- What was published after one epoch and up to another, by kind and zone.
SELECT kind, zone, count(DISTINCT nullif(wearer, '')) AS wearers, sum("count")::BIGINT AS events
FROM events WHERE epoch > $after AND epoch <= $upto GROUP BY ALL ORDER BY ALL
