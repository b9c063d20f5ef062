-- Model versions that learned from a wearer, with how many of her examples.
SELECT child_id AS model, count(*) AS examples
FROM edge_records JOIN event_records ON parent_source = source AND parent_stream = stream AND parent_number = number AND parent_revision = revision
WHERE kind = 'example' AND wearer = $wearer AND (child_source, child_stream) IN (SELECT (source, stream) FROM models)
GROUP BY child_id, child_stream, child_number ORDER BY child_stream, child_number
