-- How many derived events of the epochs after $after have a parent that is not stored, or none at all. The licensed seed has no parents.
WITH needed AS (
    SELECT child_source, child_stream, child_revision, child_first + child_step * i AS number,
        parent_source, parent_stream, parent_revision, parent_first + parent_step * i AS low, parent_first + parent_step * i + (parent_width - 1) AS high
    FROM (SELECT *, unnest(range(child_count)) AS i FROM edges WHERE epoch > $after)
), asked AS (
    SELECT parent_source AS source, parent_stream AS stream, min(low) AS least, max(high) AS most FROM needed GROUP BY ALL
), stored AS (
    SELECT source, stream, revision, "first" AS low, "first" + ("count" - 1) AS high
    FROM events JOIN asked USING (source, stream) WHERE (step = 1 OR "count" = 1) AND "first" <= most AND "first" + ("count" - 1) >= least
    UNION ALL
    SELECT source, stream, revision, number, number
    FROM (SELECT source, stream, revision, "first" + step * unnest(range("count")) AS number
        FROM events JOIN asked USING (source, stream)
        WHERE step > 1 AND "count" > 1 AND "first" <= most AND "first" + step * ("count" - 1) >= least)
), spread AS (
    SELECT *, coalesce(max(high) OVER (PARTITION BY source, stream, revision ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), low - 2) AS before
    FROM stored
), numbered AS (
    SELECT *, sum((low > before + 1)::INTEGER) OVER (PARTITION BY source, stream, revision ORDER BY low, high ROWS UNBOUNDED PRECEDING) AS island
    FROM spread
), islands AS (
    SELECT source, stream, revision, min(low) AS low, max(high) AS high FROM numbered GROUP BY source, stream, revision, island
), judged AS (
    SELECT child_source, child_stream, child_revision, number, bool_and(coalesce(islands.high >= needed.high, false)) AS resolved
    FROM needed ASOF LEFT JOIN islands
        ON parent_source = source AND parent_stream = stream AND parent_revision = revision AND needed.low >= islands.low
    GROUP BY ALL
), outputs AS (
    SELECT source, stream, revision, "first" + step * i AS number
    FROM (SELECT e.*, unnest(range(e."count")) AS i FROM events e JOIN streams s USING (source, stream)
        WHERE e.epoch > $after AND NOT s.captured AND NOT (source = $seed_source AND stream = $seed_stream))
)
SELECT count(*) AS checked, count(*) FILTER (resolved IS NOT TRUE) AS unresolved
FROM outputs o LEFT JOIN judged ON source = child_source AND stream = child_stream AND revision = child_revision AND o.number = judged.number
