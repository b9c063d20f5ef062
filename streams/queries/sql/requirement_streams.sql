-- Streams of which something was decided about in some classes; a device's incarnations are one stream.
SELECT split_part(stream, '~', 1) AS stream, count(DISTINCT source) AS sources, sum("count")::BIGINT AS events
FROM decisions WHERE hash(policy_version, attributes, zone, label, sink, purpose, verdict, passed, mode) IN (SELECT unnest($classes))
GROUP BY ALL ORDER BY ALL
