-- What of a wearer was refused, and by which rule; repeats were dropped, but the events themselves are stored.
SELECT stage, outcome, rule, zone, count(*) AS batches, sum("count")::BIGINT AS events
FROM rejected WHERE wearer = $wearer AND outcome <> 'repeated' GROUP BY ALL ORDER BY stage, outcome, rule, zone
