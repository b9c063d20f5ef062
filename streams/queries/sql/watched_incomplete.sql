-- Derived events of some epochs that have a parent which is not stored, with their class. What is said of a number holds for a run of
-- edges only event by event, so these few edges are spread out.
WITH needed AS (
    SELECT child_source, child_stream, child_revision, child_first + child_step * i AS number, epoch,
        parent_source, parent_stream, parent_revision, parent_first + parent_step * i AS low, parent_first + parent_step * i + (parent_width - 1) AS high
    FROM (SELECT *, unnest(range(child_count)) AS i FROM edges WHERE epoch > $first AND epoch <= $last)
), about AS (
    SELECT parent_source AS source, parent_stream AS stream, parent_revision AS revision, min(low) AS lowest, max(high) AS highest FROM needed GROUP BY ALL
), near AS (
    SELECT e.source, e.stream, e.revision, e."first", e.step, e."count" FROM events e JOIN about USING (source, stream, revision)
    WHERE e."first" <= highest AND e."first" + e.step * (e."count" - 1) >= lowest
), stored AS (
    SELECT source, stream, revision, "first" AS low, "first" + ("count" - 1) AS high FROM near WHERE step = 1 OR "count" = 1
    UNION ALL
    SELECT source, stream, revision, number, number
    FROM (SELECT source, stream, revision, "first" + step * unnest(range("count")) AS number FROM near WHERE step > 1 AND "count" > 1)
), spread AS (
    SELECT *, coalesce(max(high) OVER (PARTITION BY source, stream, revision ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), low - 2) AS before
    FROM stored
), islands AS (
    SELECT source, stream, revision, min(low) AS low, max(high) AS high
    FROM (SELECT *, sum((low > before + 1)::INTEGER) OVER (PARTITION BY source, stream, revision ORDER BY low, high ROWS UNBOUNDED PRECEDING) AS island FROM spread)
    GROUP BY source, stream, revision, island
), lacking AS (
    SELECT child_source AS source, child_stream AS stream, child_revision AS revision, number, max(epoch) AS epoch
    FROM needed ASOF LEFT JOIN islands
        ON parent_source = source AND parent_stream = stream AND parent_revision = revision AND needed.low >= islands.low
    WHERE coalesce(islands.high < needed.high, true) GROUP BY ALL
)
SELECT policy_version, zone, label, wearer, lacking.epoch AS epoch, count(*) AS events,
    arg_min(source || '/' || stream || '/' || number || CASE WHEN revision > 0 THEN '.' || revision ELSE '' END, number) AS id
FROM lacking JOIN events e USING (source, stream, revision)
WHERE number BETWEEN e."first" AND e."first" + e.step * (e."count" - 1) AND (number - e."first") % e.step = 0
GROUP BY policy_version, zone, label, wearer, lacking.epoch ORDER BY lacking.epoch, id
