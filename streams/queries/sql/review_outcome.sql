-- What became of the review in the record at $partition and $offset: the example that was made of it, or why there is none.
WITH taken AS (
    SELECT 1 FROM events WHERE source = $source AND stream = $stream AND kind = 'review' AND "partition" = $partition AND "offset" = $offset
)
SELECT child_source || '/' || child_stream || '/' || ("child_first" + child_step * i) AS example, '' AS rule, '' AS reason
FROM (SELECT *, unnest(range(child_count)) AS i FROM edges WHERE parent_source = $source AND parent_stream = $stream AND operator = 'example')
WHERE parent_first + parent_step * i = $number AND EXISTS (FROM taken)
UNION ALL
SELECT '', rule, reason FROM rejected
WHERE (topic = 'glasses.captured' AND "partition" = $partition AND "offset" = $offset AND stage <> 'feedback')
    OR (stage = 'feedback' AND source = $source AND stream = $example AND "first" = $number AND EXISTS (FROM taken))
UNION ALL
SELECT '', rule, sink || ': ' || rule FROM decisions
WHERE NOT passed AND source = $source AND stream IN ($stream, $example) AND $number BETWEEN "first" AND "first" + step * ("count" - 1) AND EXISTS (FROM taken)
