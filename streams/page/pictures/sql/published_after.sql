-- How long after the broker took them events were published, in seconds, by topic.
SELECT events.topic AS topic, sum("count")::BIGINT AS events, quantile_cont((published_ns - appended_ns) / 1e9, 0.5) AS median_s,
    max(published_ns - appended_ns) / 1e9 AS most_s
FROM events JOIN epochs USING (epoch) WHERE appended_ns > 0 AND appended_ns >= $since_ns
GROUP BY ALL ORDER BY ALL
