-- What training runs held, left out or let count less, and why.
SELECT version, name, subject, examples, judged, percent, percent_max, outcome FROM training_checks
WHERE outcome <> 'passed' ORDER BY version, t_ns, name, subject
