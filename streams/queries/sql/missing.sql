-- Numbers of captured streams between 0 and the highest known that are neither stored nor rejected, as runs. What nobody could
-- read claims numbers and has none. What is over is not missing, whether it has left the store already or not. A stream that the
-- store has no row of is captured if something of it was refused: nothing of it was ever stored.
WITH derived AS (
    SELECT source, stream FROM streams WHERE NOT captured
), known AS (
    SELECT e.source, e.stream, e."first" AS low, e."first" + (e."count" - 1) AS high
    FROM events e JOIN streams s USING (source, stream) WHERE s.captured AND (e.step = 1 OR e."count" = 1)
    UNION ALL
    SELECT source, stream, number, number FROM (
        SELECT e.source, e.stream, e."first" + e.step * unnest(range(e."count")) AS number
        FROM events e JOIN streams s USING (source, stream) WHERE s.captured AND e.step > 1 AND e."count" > 1)
    UNION ALL
    SELECT source, stream, "first", "first" + ("count" - 1)
    FROM rejected ANTI JOIN derived USING (source, stream) WHERE "count" > 0 AND outcome NOT IN ('repeated', 'collision', 'malformed') AND topic = 'glasses.captured' AND stage = 'zones'
    UNION ALL
    SELECT source, stream, low, high FROM expired LEFT JOIN streams USING (source, stream) WHERE coalesce(captured, events = 0)
    UNION ALL
    SELECT source, stream, "first", "first" + step * ("count" - 1)
    FROM overdue LEFT JOIN streams USING (source, stream) WHERE coalesce(captured, refused)
), reached AS (
    SELECT source, stream, low,
        coalesce(max(high) OVER (PARTITION BY source, stream ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), -1) AS before
    FROM known
)
SELECT source, stream, before + 1 AS "first", low - 1 - before AS "count" FROM reached WHERE low - 1 > before
ORDER BY source, stream, "first"
