-- What feedback said of answers, counted by what $by names: model version, zone, wearer, or day in UTC.
SELECT CASE $by WHEN 'version' THEN version::VARCHAR WHEN 'zone' THEN zone WHEN 'wearer' THEN wearer ELSE strftime(make_timestamp(t_ns // 1000), '%Y-%m-%d') END AS key,
    count(*) FILTER (form IN ('thumb', 'choice')), count(*) FILTER (meaning = 'confirmed'), count(*) FILTER (meaning = 'corrected'),
    count(*) FILTER (meaning = 'denied'), count(*) FILTER (meaning = 'unclear')
FROM feedback GROUP BY key
