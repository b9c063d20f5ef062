-- Answers that a candidate gave in shadow and of which feedback says whether they were right, by model version.
SELECT candidate::VARCHAR AS key, count(*) FILTER (candidate_meaning <> 'unclear'), count(*) FILTER (candidate_meaning = 'confirmed')
FROM feedback WHERE candidate > 0 GROUP BY key
