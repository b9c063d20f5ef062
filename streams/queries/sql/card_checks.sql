-- What the run of a model version looked at in its examples; of a run that was held before, the newest.
SELECT name, subject, examples, judged, percent_max, outcome FROM training_checks
WHERE version = $version AND t_ns = (SELECT max(t_ns) FROM training_checks WHERE version = $version) ORDER BY name, subject
