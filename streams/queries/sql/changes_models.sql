-- Model versions that came after one epoch and up to another.
SELECT source || '/' || stream || '/' || version AS id, examples, wearers, accuracy, zone, trained_ns
FROM models WHERE epoch > $after AND epoch <= $upto ORDER BY source, stream, version
