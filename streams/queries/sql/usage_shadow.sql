-- Answers that a candidate gave in shadow and of which feedback says whether they were right, by model version: how
-- many were, and how many of the answers to the same queries that were heard.
SELECT candidate::VARCHAR AS key, count(*), count(*) FILTER (candidate_meaning = 'confirmed'), count(*) FILTER (meaning = 'confirmed')
FROM feedback WHERE candidate > 0 AND candidate_meaning <> 'unclear' GROUP BY key
