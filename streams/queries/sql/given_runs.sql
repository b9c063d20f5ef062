-- Runs of answers and examples from one time on, and of model versions from another.
SELECT source, stream, revision, policy_version, zone, label, wearer, list("first") AS firsts, list(step) AS steps, list("count") AS counts
FROM events WHERE kind IN ('answer', 'example') AND appended_ns >= $counted_ns OR kind = 'model' AND t_last_ns >= $judged_ns GROUP BY ALL
