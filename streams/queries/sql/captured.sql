-- Captured streams with how far they are known, how many numbers are stored, and how many are over.
WITH known AS (
    SELECT source, stream, max("first" + step * ("count" - 1)) AS highest, sum("count") AS stored, 0 AS expired FROM events GROUP BY ALL
    UNION ALL
    SELECT source, stream, max(high), 0, sum(high - low + 1) FROM expired GROUP BY ALL
    UNION ALL
    SELECT source, stream, max("first" + step * ("count" - 1)), 0, sum("count") FROM overdue GROUP BY ALL
)
SELECT source, stream, kind, max(highest) AS highest, sum(stored)::BIGINT AS stored, sum(known.expired)::BIGINT AS expired
FROM streams JOIN known USING (source, stream) WHERE captured
GROUP BY ALL ORDER BY ALL
