-- The epoch that is open: below these offsets of glasses.lineage, in the log that is followed since an epoch, nothing is left out.
SELECT epoch, published_ns, offsets, rows, cluster, topic,
    (SELECT coalesce(max(former.epoch), 0) + 1 FROM epochs AS former WHERE (former.cluster, former.topic) <> (newest.cluster, newest.topic)) AS since_epoch
FROM epochs AS newest ORDER BY epoch DESC LIMIT 1
