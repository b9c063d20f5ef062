-- Which operators, in which versions, linked how much to its parents, and which declassifiers they named.
SELECT operator, operator_version AS version, declassifier, count(DISTINCT child_source) AS devices,
    sum(child_count * parent_width)::BIGINT AS edges
FROM edges GROUP BY ALL ORDER BY ALL
