-- When number $number of one stream was over, as revision $revision: in ns, by the broker's clock; 0 if it leaves the store with the
-- next rewriting.
SELECT expired_ns, events, low, high FROM expired
WHERE source = $source AND stream = $stream AND revision = $revision AND low <= $number AND high >= $number
UNION ALL
SELECT 0, "count", "first", "first" + step * ("count" - 1) FROM overdue
WHERE source = $source AND stream = $stream AND revision = $revision AND "first" <= $number AND "first" + step * ("count" - 1) >= $number
ORDER BY ALL DESC LIMIT 1
