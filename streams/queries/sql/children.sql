-- Edge runs whose parents may be among $low ... $high of one stream and revision; the walk looks at each run exactly.
SELECT child_source, child_stream, child_revision, child_first, child_step, child_count, parent_first, parent_step, parent_width,
    operator, operator_version, directness, declassifier
FROM (FROM read_parquet($files) WHERE readable_edges)
WHERE parent_source = $source AND parent_stream = $stream AND parent_revision = $revision
    AND parent_first <= $high AND parent_first + parent_step * (child_count - 1) + parent_width - 1 >= $low
ORDER BY ALL
