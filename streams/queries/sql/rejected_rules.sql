-- What was refused, by rule.
SELECT stage, outcome, CASE WHEN starts_with(rule, 'consent:') THEN 'consent' ELSE rule END AS said_by, count(*) AS batches,
    sum("count")::BIGINT AS events
FROM rejected WHERE outcome <> 'repeated' GROUP BY ALL ORDER BY batches DESC, stage, outcome, said_by
