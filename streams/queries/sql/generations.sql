-- Each model version with what it was made of, and how many answers it gave. One run of answers can go through
-- several versions, so the runs are looked at answer by answer.
WITH given AS (
    SELECT parent_source, parent_stream, version, count(*) AS answers FROM (
        SELECT e.parent_source, e.parent_stream, e.parent_first + e.parent_step * unnest(range(e.child_count)) AS version
        FROM edges e
        JOIN streams child ON child.source = e.child_source AND child.stream = e.child_stream AND child.kind = 'answer'
        JOIN streams parent ON parent.source = e.parent_source AND parent.stream = e.parent_stream AND parent.kind = 'model')
    GROUP BY ALL)
SELECT m.source, m.stream, m.version, m.examples, m.wearers, m.accuracy, m.zone, m.label, m.policy_version, m.trained_ns, coalesce(g.answers, 0) AS answers
FROM models m LEFT JOIN given g ON g.parent_source = m.source AND g.parent_stream = m.stream AND g.version = m.version
ORDER BY m.source, m.stream, m.version
