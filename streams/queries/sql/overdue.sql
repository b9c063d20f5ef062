-- How many events are over and not yet gone from the files of the store, whatever a role is shown.
SELECT coalesce(sum("count"), 0)::BIGINT AS events FROM overdue WHERE NOT refused
