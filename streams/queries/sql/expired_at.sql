-- When number $number of one stream was over: in ns, by the broker's clock; 0 if it leaves the store with the next rewriting.
SELECT expired_ns, events, low, high FROM expired WHERE source = $source AND stream = $stream AND low <= $number AND high >= $number
UNION ALL
SELECT 0, e."count", e."first", e."first" + e.step * (e."count" - 1) FROM files.events e JOIN keeping k USING (policy_version, zone, label)
WHERE e.source = $source AND e.stream = $stream AND e."first" <= $number AND e."first" + e.step * (e."count" - 1) >= $number
    AND coalesce(nullif(e.appended_ns, 0), e.t_last_ns) <= k.until_ns + greatest(epoch_ns(now()) - k.clock_ns, 0)
ORDER BY ALL DESC LIMIT 1
