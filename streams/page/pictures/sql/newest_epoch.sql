-- The newest epoch, and the next offset of each partition of glasses.lineage.
SELECT epoch, published_ns, offsets FROM epochs ORDER BY epoch DESC LIMIT 1
