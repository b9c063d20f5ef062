-- Labels by generation and hop of the loop: the model, what it was asked, what it answered, and what was learned from that.
WITH given AS (
    SELECT child_source AS source, child_stream AS stream, child_number AS number, child_revision AS revision, parent_number AS generation
    FROM edge_records JOIN models ON parent_source = models.source AND parent_stream = models.stream AND parent_number = version
    WHERE operator = 'answer'
), around AS (
    SELECT source, stream, number, revision, generation FROM given
    UNION ALL
    SELECT parent_source, parent_stream, parent_number, parent_revision, generation
    FROM given JOIN edge_records ON child_source = source AND child_stream = stream AND child_number = number AND child_revision = revision
    WHERE operator = 'answer' AND (parent_source, parent_stream) NOT IN (SELECT (source, stream) FROM models)
    UNION ALL
    SELECT child_source, child_stream, child_number, child_revision, generation
    FROM given JOIN edge_records ON parent_source = source AND parent_stream = stream AND parent_number = number AND parent_revision = revision
    WHERE operator = 'example'
)
SELECT generation, kind, zone, label, policy_version, wearer, count(*) AS events FROM around JOIN event_records USING (source, stream, number, revision) GROUP BY ALL
UNION ALL
SELECT version, 'model', zone, label, policy_version, '', 1 FROM models
ORDER BY ALL
