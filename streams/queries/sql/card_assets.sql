-- What a model version was made from as a whole.
SELECT kind, name, licence, examples, digest FROM training_assets WHERE version = $version AND outcome = 'made' ORDER BY kind, name
