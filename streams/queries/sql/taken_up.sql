-- What a wearer said, as agents took it up on other partitions than the wearer's own; `t_ns` is the broker's time of the fetch that did.
SELECT agent, "partition", t_ns, value FROM inputs WHERE kind = 'consent-takeup' AND contains(value, $named) ORDER BY t_ns
