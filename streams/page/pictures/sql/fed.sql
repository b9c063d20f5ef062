-- Each example, the generation that learned from it first, and the one on whose answer it was made.
WITH learned AS (
    SELECT child_source AS source, child_stream AS stream, min(child_number) AS version,
        parent_source, parent_stream, parent_number, any_value(parent_id) AS id
    FROM edge_records WHERE operator = 'training' GROUP BY ALL
), given AS (
    SELECT child_source AS source, child_stream AS stream, child_number AS number, parent_number AS version
    FROM edge_records
    WHERE operator = 'answer' AND (parent_source, parent_stream) IN (SELECT (source, stream) FROM models)
), judged AS (
    SELECT child_source, child_stream, child_number, version AS of
    FROM edge_records JOIN given ON parent_source = source AND parent_stream = stream AND parent_number = number
    WHERE operator = 'example'
)
SELECT source, stream, version, of, id
FROM learned LEFT JOIN judged
    ON child_source = parent_source AND child_stream = parent_stream AND child_number = parent_number
ORDER BY parent_source, parent_stream, parent_number
