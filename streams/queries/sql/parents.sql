-- Edge runs whose children may be among $low ... $high of one stream and revision; the walk looks at each run exactly.
SELECT child_first, child_step, child_count, parent_source, parent_stream, parent_revision, parent_first, parent_step, parent_width,
    operator, operator_version, directness, declassifier
FROM (FROM read_parquet($files) WHERE readable_edges)
WHERE child_source = $source AND child_stream = $stream AND child_revision = $revision
    AND child_first <= $high AND child_first + child_step * (child_count - 1) >= $low
ORDER BY ALL
