-- What became of a review: the example that was made of it, or why there is none.
SELECT child_source || '/' || child_stream || '/' || ("child_first" + child_step * i) AS example, '' AS rule, '' AS reason
FROM (SELECT *, unnest(range(child_count)) AS i FROM edges WHERE parent_source = $source AND parent_stream = $stream AND operator = 'example')
WHERE parent_first + parent_step * i = $number
UNION ALL
SELECT '', rule, reason FROM rejected
WHERE source = $source AND "first" = $number AND (stream = $stream OR (stage = 'feedback' AND stream = 'example-' || $stream))
