-- Of which kinds operators made which.
SELECT coalesce(child.kind, '') AS child, operator, coalesce(parent.kind, '') AS parent, sum(child_count)::BIGINT AS events
FROM (SELECT child_source, child_stream, parent_source, parent_stream, operator, sum(child_count) AS child_count FROM edges GROUP BY ALL)
LEFT JOIN streams child ON (child.source = child_source AND child.stream = child_stream)
LEFT JOIN streams parent ON (parent.source = parent_source AND parent.stream = parent_stream)
GROUP BY ALL ORDER BY ALL
