-- The epoch that is open: below these offsets of glasses.lineage nothing is left out.
SELECT epoch, published_ns, offsets, rows FROM epochs ORDER BY epoch DESC LIMIT 1
