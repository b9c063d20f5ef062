-- How many events are over and not yet gone from the files of the store, whatever a role is shown.
SELECT coalesce(sum(e."count"), 0)::BIGINT AS events FROM files.events e JOIN keeping k USING (policy_version, zone, label)
WHERE e.source <> 'training' AND coalesce(nullif(e.appended_ns, 0), e.t_last_ns) <= k.until_ns + greatest(epoch_ns(now()) - k.clock_ns, 0)
