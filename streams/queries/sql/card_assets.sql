-- What a model version was made from as a whole; of a run that was refused or held before, the newest.
SELECT kind, name, licence, examples, digest FROM training_assets
WHERE version = $version AND t_ns = (SELECT max(t_ns) FROM training_assets WHERE version = $version) ORDER BY kind, name
