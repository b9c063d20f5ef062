-- Events that were over and have left the store, by the day (of UTC since 1970) on which they did.
SELECT expired_ns // 86400000000000 AS day, sum(events)::BIGINT AS events FROM expired GROUP BY day ORDER BY day
