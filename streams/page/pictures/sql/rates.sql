-- How much the last minute of epochs added, by topic.
WITH last AS (SELECT max(published_ns) AS until_ns FROM epochs),
recent AS (SELECT epoch, published_ns FROM epochs, last WHERE published_ns > until_ns - 60_000_000_000)
SELECT topic, count(*) AS batches, sum("count")::BIGINT AS events,
    strftime(max(t_last) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS watermark
FROM events WHERE epoch IN (SELECT epoch FROM recent) GROUP BY topic ORDER BY topic
