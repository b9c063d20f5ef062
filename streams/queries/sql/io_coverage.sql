-- Whether each operation is linked to what it reads or writes, and how much was recorded of it.
SELECT operation, direction, asset, done_by, linked, recorded_in, sites, reason,
    CASE WHEN counted <> '' THEN coalesce(observed, 0) END AS observed
FROM io_coverage
LEFT JOIN (SELECT counted, counted_key, sum(observed)::BIGINT AS observed FROM io_counts GROUP BY ALL) USING (counted, counted_key)
ORDER BY linked, direction DESC, operation
