-- What was refused after one epoch and up to another, by rule.
SELECT stage, outcome, CASE WHEN starts_with(rule, 'consent:') THEN 'consent' ELSE rule END AS rule, count(*) AS batches, sum("count")::BIGINT AS events
FROM rejected WHERE epoch > $after AND epoch <= $upto GROUP BY ALL ORDER BY ALL
