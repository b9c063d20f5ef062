-- The newest epoch of each of several stores, whose epochs are counted from multiples of $apart on; as newest_epoch.
SELECT epoch, published_ns, offsets, rows, cluster, topic,
    (SELECT coalesce(max(former.epoch) % $apart, 0) + 1 FROM epochs AS former
        WHERE former.epoch // $apart = newest.epoch // $apart AND (former.cluster, former.topic) <> (newest.cluster, newest.topic)) AS since_epoch
FROM epochs AS newest QUALIFY row_number() OVER (PARTITION BY epoch // $apart ORDER BY epoch DESC) = 1 ORDER BY epoch
