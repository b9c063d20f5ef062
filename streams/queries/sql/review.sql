-- Answers that a person should look at, with why and with their query: withheld ones, those of which feedback says
-- only that they were wrong, or says different things, and the ones that are named ($sources, $streams, $numbers).
WITH judged AS (
    SELECT source, answer_stream AS stream, answer AS number, bool_or(form = 'review') AS reviewed,
        bool_or(meaning = 'denied') AND NOT bool_or(meaning = 'corrected') AS denied,
        bool_or(meaning = 'confirmed') AND bool_or(meaning IN ('corrected', 'denied')) AS contradictory
    FROM feedback GROUP BY ALL
), wanted AS (
    SELECT source, stream, number, 'denied' AS why FROM judged WHERE denied AND NOT contradictory
    UNION ALL SELECT source, stream, number, 'contradictory' FROM judged WHERE contradictory
    UNION ALL SELECT DISTINCT source, stream, "first", 'withheld' FROM rejected WHERE stage = 'assistant' AND starts_with(rule, 'withheld.')
    UNION ALL SELECT unnest($sources::VARCHAR[]), unnest($streams::VARCHAR[]), unnest($numbers::BIGINT[]), 'unsure'
)
SELECT w.source, w.stream, w.number, w.why, coalesce(j.reviewed, false) AS reviewed, e.stream AS query_stream, e.zone, e.label, e.policy_version,
    e.wearer, e.consent, e.appended_ns, e.t_first_ns AS t_ns, e."partition", e."offset"
FROM wanted w LEFT JOIN judged j USING (source, stream, number)
    JOIN events e ON e.source = w.source AND e.stream = replace(w.stream, 'answer', 'voice-query') AND e.kind = 'voice_query'
        AND w.number BETWEEN e."first" AND e."first" + e.step * (e."count" - 1)
ORDER BY t_ns, w.source, w.stream, w.number, w.why
