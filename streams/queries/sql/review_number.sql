-- The highest number of a stream that was accepted, or refused.
SELECT max(highest) FROM (
    SELECT max("first" + step * ("count" - 1)) AS highest FROM events WHERE source = $source AND stream = $stream
    UNION ALL SELECT max("first" + greatest("count" - 1, 0)) FROM rejected WHERE source = $source AND stream = $stream)
