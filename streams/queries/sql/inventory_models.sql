-- Model versions, the newest first.
SELECT source || '/' || stream || '/' || version AS id, zone, label, policy_version, examples, wearers, accuracy, trained_ns, retrain_by_ns, bytes
FROM models ORDER BY source, stream, version DESC
