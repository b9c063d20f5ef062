-- What a reader sees. `files.<table>` are made anew for each epoch and hold nothing but the list of current segments;
-- everything here stands on them by name and is the same in every epoch, so it comes ready-made in the template.

CREATE VIEW streams AS
SELECT source, stream, any_value(kind) AS kind, bool_or(captured) AS captured, min(epoch) AS epoch
FROM files.streams GROUP BY source, stream;

CREATE VIEW events AS
SELECT *, make_timestamptz(t_first_ns // 1000) AS t_first, make_timestamptz(t_last_ns // 1000) AS t_last FROM files.events;

CREATE VIEW edges AS SELECT * FROM files.edges;

CREATE VIEW decisions AS SELECT *, make_timestamptz(t_ns // 1000) AS t, make_timestamptz(coalesce(nullif(at_ns, 0), appended_ns) // 1000) AS at FROM files.decisions;

CREATE VIEW rejected AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.rejected;

CREATE VIEW models AS
SELECT *, make_timestamptz(trained_ns // 1000) AS trained, make_timestamptz(retrain_by_ns // 1000) AS retrain_by FROM files.models;

CREATE VIEW training_runs AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.training_runs;

CREATE VIEW inputs AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.inputs;

CREATE VIEW policies AS
SELECT version, any_value(name) AS name, coalesce(any_value(text) FILTER (left(sha256(text), 16) = version), any_value(text)) AS text, coalesce(min(nullif(published_ns, 0)), 0) AS published_ns,
    make_timestamptz(min(nullif(published_ns, 0)) // 1000) AS published, min(epoch) AS epoch
FROM files.policies GROUP BY version;

CREATE VIEW shadow AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.shadow;

CREATE TABLE epoch_rows (epoch BIGINT, published_ns BIGINT, offsets MAP(INTEGER, BIGINT), rows BIGINT);

CREATE VIEW epochs AS
SELECT epoch, published_ns, make_timestamptz(published_ns // 1000) AS published, offsets, rows
FROM (SELECT epoch, published_ns, offsets, rows FROM files.epochs UNION ALL FROM epoch_rows);

CREATE VIEW zone_runs AS SELECT * FROM files.zone_runs;

CREATE TABLE segments (
    file VARCHAR, table_name VARCHAR, first_epoch BIGINT, last_epoch BIGINT, rows BIGINT, bytes BIGINT, digest VARCHAR,
    classes INTEGER[], fresh BOOLEAN);

CREATE TABLE indexes (
    file VARCHAR, first_epoch BIGINT, last_epoch BIGINT, edges BIGINT, zone_runs BIGINT, bytes BIGINT, digest VARCHAR);

-- Of segments that no index file lists. `role` says whether the numbers are of the rows themselves, or of an edge's
-- child or parent.
CREATE TABLE spans (file VARCHAR, role VARCHAR, source VARCHAR, stream VARCHAR, lowest BIGINT, highest BIGINT);

CREATE TABLE classes (class INTEGER, policy_version VARCHAR, zone VARCHAR, label VARCHAR);

CREATE TABLE store (id VARCHAR, version INTEGER, cluster VARCHAR, topic VARCHAR);

-- Runs, event by event.
CREATE VIEW event_records AS
SELECT source || '/' || stream || '/' || number || CASE WHEN revision > 0 THEN '.' || revision ELSE '' END AS id, * FROM (
    SELECT source, stream, "first" + step * unnest(range("count")) AS number, revision, kind, zone, label, rule, policy_version, wearer, consent, session,
        topic, "partition", "offset", digest, split_from, origin, epoch
    FROM files.events);

CREATE VIEW edge_records AS
SELECT child_source || '/' || child_stream || '/' || child_number || CASE WHEN child_revision > 0 THEN '.' || child_revision ELSE '' END AS child_id,
    parent_source || '/' || parent_stream || '/' || parent_number || CASE WHEN parent_revision > 0 THEN '.' || parent_revision ELSE '' END AS parent_id, * FROM (
    SELECT child_source, child_stream, child_number, child_revision,
        parent_source, parent_stream, parent_start + unnest(range(parent_width)) AS parent_number, parent_revision,
        operator, operator_version, directness, declassifier, epoch
    FROM (
        SELECT *, child_first + child_step * i AS child_number, parent_first + parent_step * i AS parent_start
        FROM (SELECT *, unnest(range(child_count)) AS i FROM files.edges)));
