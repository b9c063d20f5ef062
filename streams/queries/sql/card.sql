-- One model version with its training run, comparison and label; what a store of before lacks is null.
SELECT m.source, m.stream, m.version, m.examples, m.wearers, m.accuracy, m.trained_ns, m.zone, m.label, m.policy_version,
    m.digest, m.retrain_by_ns, m.bytes, r.seed_examples, r.admitted, r.refused, r.manifest_digest, r.trigger
FROM models m LEFT JOIN training_runs r USING (version)
WHERE m.source = $source AND m.stream = $stream AND m.version = $version
