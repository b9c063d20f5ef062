-- How a model version was compared when it was made.
SELECT outcome, against, reason, split_seed, kept_validation, kept_test, compared, better, worse, p_value FROM promotions
WHERE version = $version AND outcome <> 'rolled-back' ORDER BY t_ns LIMIT 1
