-- What was written to the topic of what is refused.
SELECT sum("count")::BIGINT AS events, max(t_ns) AS latest_ns FROM rejected WHERE outcome <> 'repeated'
