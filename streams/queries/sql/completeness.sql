-- Of each derived stream how many events all of whose parents are stored, and how many that have no parents at all. What is over
-- is no lack: an event without parents that is as old as what has left the store is not counted.
WITH stored AS (
    SELECT source, stream, revision, "first" AS low, "first" + ("count" - 1) AS high FROM events WHERE step = 1 OR "count" = 1
    UNION ALL
    SELECT source, stream, revision, number, number
    FROM (SELECT source, stream, revision, "first" + step * unnest(range("count")) AS number FROM events WHERE step > 1 AND "count" > 1)
    UNION ALL
    SELECT source, stream, revision, "first", "first" + step * ("count" - 1) FROM overdue
), spread AS (
    SELECT *, coalesce(max(high) OVER (PARTITION BY source, stream, revision ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), low - 2) AS before
    FROM stored
), numbered AS (
    SELECT *, sum((low > before + 1)::INTEGER) OVER (PARTITION BY source, stream, revision ORDER BY low, high ROWS UNBOUNDED PRECEDING) AS island
    FROM spread
), islands AS (
    SELECT source, stream, revision, min(low) AS low, max(high) AS high FROM numbered GROUP BY source, stream, revision, island
), needed AS (
    SELECT child_source, child_stream, child_revision, child_first + child_step * i AS number,
        parent_source, parent_stream, parent_revision, parent_first + parent_step * i AS low, parent_first + parent_step * i + (parent_width - 1) AS high
    FROM (SELECT *, unnest(range(child_count)) AS i FROM edges)
), judged AS (
    SELECT child_source, child_stream, child_revision, number, bool_and(coalesce(islands.high >= needed.high, false)) AS resolved
    FROM needed ASOF LEFT JOIN islands
        ON parent_source = source AND parent_stream = stream AND parent_revision = revision AND needed.low >= islands.low
    GROUP BY ALL
), outputs AS (
    SELECT source, stream, revision, kind, "first" + step * i AS number, appended_ns
    FROM (SELECT e.*, unnest(range(e."count")) AS i FROM events e JOIN streams s USING (source, stream) WHERE NOT s.captured)
)
SELECT o.source, o.stream, o.kind, count(*) AS outputs, count(*) FILTER (resolved) AS resolved, count(*) FILTER (resolved IS NULL) AS without_parents,
    coalesce(min(o.number) FILTER (NOT resolved), -1) AS first_unresolved
FROM outputs o LEFT JOIN judged ON source = child_source AND stream = child_stream AND revision = child_revision AND o.number = judged.number
WHERE resolved IS NOT NULL OR o.appended_ns > (SELECT coalesce(max(appended_ns), -1) FROM expired)
GROUP BY o.source, o.stream, o.kind ORDER BY o.source, o.stream
