-- Answers that models gave, counted by what $by names: their model version, zone, wearer, or day of capture in UTC.
SELECT CASE $by WHEN 'version' THEN version::VARCHAR WHEN 'zone' THEN zone WHEN 'wearer' THEN wearer ELSE strftime(make_timestamp(t_ns // 1000), '%Y-%m-%d') END AS key, count(*)
FROM (
    SELECT source, stream, "first" + step * nth AS number, zone, wearer, t_first_ns AS t_ns
    FROM (SELECT *, unnest(range("count")) AS nth FROM events WHERE kind = 'answer')
) JOIN (
    SELECT child_source AS source, child_stream AS stream, child_first + child_step * nth AS number, parent_first + parent_step * nth AS version
    FROM (SELECT *, unnest(range(child_count)) AS nth FROM edges WHERE parent_source = 'training' AND parent_stream = 'intent-model')
) USING (source, stream, number)
GROUP BY key
