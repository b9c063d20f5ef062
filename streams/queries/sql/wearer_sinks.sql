-- Where events of a wearer went or were kept from going.
SELECT sink, purpose, verdict, passed, sum("count")::BIGINT AS events
FROM decisions WHERE wearer = $wearer GROUP BY ALL ORDER BY sink, purpose, verdict, passed
