-- Model versions, oldest first.
SELECT source, stream, version, examples, wearers, accuracy, zone, label, policy_version, trained_ns FROM models ORDER BY source, stream, version
