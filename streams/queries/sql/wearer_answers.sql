-- Answers to a wearer, by the model version that gave them.
SELECT parent_id AS model, count(*) AS answers
FROM edge_records JOIN event_records ON child_source = source AND child_stream = stream AND child_number = number AND child_revision = revision
WHERE kind = 'answer' AND wearer = $wearer AND (parent_source, parent_stream) IN (SELECT (source, stream) FROM models)
GROUP BY parent_id, parent_stream, parent_number ORDER BY parent_stream, parent_number
