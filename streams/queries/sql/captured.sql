-- Captured streams with how far they are known, how many numbers are stored, and how many are over. A stream all of which was
-- refused is one as well, and nobody told its kind. What nobody could read, and other data under its numbers, make none.
WITH unstored AS (
    SELECT source, stream, "first" + ("count" - 1) AS high
    FROM rejected ANTI JOIN streams USING (source, stream)
    WHERE "count" > 0 AND outcome NOT IN ('repeated', 'collision', 'malformed') AND topic = 'glasses.captured' AND stage = 'zones'
    UNION ALL
    SELECT source, stream, high FROM expired ANTI JOIN streams USING (source, stream) WHERE events = 0
    UNION ALL
    SELECT source, stream, "first" + step * ("count" - 1) FROM overdue ANTI JOIN streams USING (source, stream) WHERE refused
), named AS (
    SELECT source, stream, kind FROM streams WHERE captured
    UNION
    SELECT source, stream, '' FROM unstored
), known AS (
    SELECT source, stream, max("first" + step * ("count" - 1)) AS highest, sum("count") AS stored, 0 AS expired FROM events GROUP BY ALL
    UNION ALL
    SELECT source, stream, max(high), 0, 0 FROM unstored GROUP BY ALL
    UNION ALL
    SELECT source, stream, max(high), 0, sum(high - low + 1) FROM expired GROUP BY ALL
    UNION ALL
    SELECT source, stream, max("first" + step * ("count" - 1)), 0, sum("count") FROM overdue GROUP BY ALL
)
SELECT source, stream, kind, max(highest) AS highest, sum(stored)::BIGINT AS stored, sum(known.expired)::BIGINT AS expired
FROM named JOIN known USING (source, stream)
GROUP BY ALL ORDER BY ALL
