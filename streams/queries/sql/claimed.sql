-- Numbers that batches claimed which nobody could read.
SELECT DISTINCT source, stream, "first", "count", policy_version, zone, wearer
FROM rejected WHERE "count" > 0 AND outcome = 'malformed' AND topic = 'glasses.captured' AND stage = 'zones'
ORDER BY ALL
