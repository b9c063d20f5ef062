-- What was decided after one epoch and up to another, by sink and outcome.
SELECT sink, purpose, verdict, passed, sum("count")::BIGINT AS events
FROM decisions WHERE epoch > $after AND epoch <= $upto GROUP BY ALL ORDER BY ALL
