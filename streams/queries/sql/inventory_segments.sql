-- How much the files of each table hold.
SELECT table_name, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes FROM segments GROUP BY table_name
