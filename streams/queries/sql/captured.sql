-- Captured streams with how far they are known.
SELECT s.source, s.stream, s.kind, max(e."first" + e.step * (e."count" - 1)) AS highest, sum(e."count")::BIGINT AS stored
FROM streams s JOIN events e USING (source, stream) WHERE s.captured
GROUP BY ALL ORDER BY ALL
