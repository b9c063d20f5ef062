-- Answers that a person should look at, with why and with their query: withheld ones, those of which feedback says
-- only that they were wrong, or says both, whose example the gate of training holds until then (rule $held), and the ones that are named ($sources, $streams, $numbers). A device
-- remembers its newest $remembered answers; about others nothing can be said any more.
WITH judged AS (
    SELECT source, answer_stream AS stream, answer AS number, bool_or(form = 'review') AS reviewed,
        bool_or(meaning = 'denied') AND NOT bool_or(meaning = 'corrected') AS denied,
        bool_or(meaning = 'confirmed') AND bool_or(meaning IN ('corrected', 'denied')) AS contradictory
    FROM feedback GROUP BY ALL
), answered AS (
    SELECT source, stream, "first" + step * unnest(range("count")) AS number FROM events WHERE kind = 'answer'
), wanted AS (
    SELECT source, stream, number, 'denied' AS why FROM judged WHERE denied AND NOT contradictory
    UNION ALL SELECT source, stream, number, 'contradictory' FROM judged WHERE contradictory
    UNION ALL SELECT DISTINCT source, stream, "first", 'withheld' FROM rejected WHERE stage = 'assistant' AND starts_with(rule, 'withheld.')
    UNION ALL SELECT DISTINCT f.source, f.answer_stream, f.answer, 'second-order' FROM feedback f JOIN decisions d
        ON d.source = f.source AND d.stream = replace(f.stream, 'feedback', 'example') AND f."first" BETWEEN d."first" AND d."first" + d.step * (d."count" - 1)
            AND (f."first" - d."first") % d.step = 0
        WHERE d.sink = 'training-run' AND NOT d.passed AND d.rule = $held
    UNION ALL SELECT source, stream, number, 'unsure' FROM answered
        SEMI JOIN (SELECT unnest($sources::VARCHAR[]) AS source, unnest($streams::VARCHAR[]) AS stream, unnest($numbers::BIGINT[]) AS number)
        USING (source, stream, number)
), queries AS (
    SELECT *, max("first" + step * ("count" - 1)) OVER (PARTITION BY source, stream) AS newest FROM events WHERE kind = 'voice_query'
)
SELECT w.source, w.stream, w.number, w.why, coalesce(j.reviewed, false) AS reviewed, q.stream AS query_stream, q.zone, q.label, q.policy_version,
    q.wearer, q.consent, q.appended_ns, q.t_first_ns + (q.t_last_ns - q.t_first_ns) * (w.number - q."first") // greatest(q.step * (q."count" - 1), 1) AS t_ns,
    q."partition", q."offset", coalesce(nullif(q.split_from, ''), q.digest) AS digest
FROM wanted w LEFT JOIN judged j USING (source, stream, number)
    JOIN queries q ON q.source = w.source AND starts_with(w.stream, 'answer') AND q.stream = 'voice-query' || substr(w.stream, 7)
        AND w.number BETWEEN q."first" AND q."first" + q.step * (q."count" - 1)
WHERE w.number > q.newest - $remembered
ORDER BY t_ns, w.source, w.stream, w.number, w.why
