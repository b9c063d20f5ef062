-- The answer that was given last.
SELECT source || '/' || stream || '/' || "first" AS id FROM events
WHERE kind = 'answer' AND revision = 0 ORDER BY t_first_ns DESC, id LIMIT 1
