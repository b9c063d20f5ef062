-- Capture times of runs of events that hold numbers of the asked intervals.
SELECT source, stream, revision, "first", step, "count", t_first_ns, t_last_ns
FROM read_parquet($files) JOIN (
    SELECT unnest($sources) AS source, unnest($streams) AS stream, unnest($revisions) AS revision, unnest($lows) AS low, unnest($highs) AS high
) USING (source, stream, revision)
WHERE "first" <= high AND "first" + step * ("count" - 1) >= low
