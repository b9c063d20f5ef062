-- What a reader sees. `files.<table>` are made anew for each epoch and hold nothing but the list of current segments;
-- everything here stands on them by name and is the same in every epoch, so it comes ready-made in the template.
-- `staying.<table>` stands for the rows of `files.<table>` that are not over (`streams.lineage.kept`).

-- How long rows of each class are kept, and up to which append time they were over at the time of a clock. What is over is in
-- no view of rows with a class, though it is in the files until the next rewriting.
CREATE TABLE keeping (policy_version VARCHAR, zone VARCHAR, label VARCHAR, days BIGINT, until_ns BIGINT, clock_ns BIGINT, began_ns BIGINT);

CREATE VIEW over_classes AS SELECT policy_version, zone, label, OVER_NS AS over_ns, began_ns FROM keeping;

CREATE VIEW streams AS
SELECT source, stream, any_value(kind) AS kind, bool_or(captured) AS captured, min(epoch) AS epoch
FROM files.streams GROUP BY source, stream;

CREATE VIEW events AS
SELECT * EXCLUDE (over_key), make_timestamptz(t_first_ns // 1000) AS t_first, make_timestamptz(t_last_ns // 1000) AS t_last FROM staying.events;

CREATE VIEW edges AS SELECT * FROM files.edges;

CREATE VIEW decisions AS SELECT source || '/' || stream || '/' || "first" AS id, * EXCLUDE (over_key), make_timestamptz(t_ns // 1000) AS t, make_timestamptz(coalesce(nullif(at_ns, 0), appended_ns) // 1000) AS at FROM staying.decisions;

CREATE VIEW rejected AS SELECT * EXCLUDE (over_key), make_timestamptz(t_ns // 1000) AS t FROM staying.rejected;

CREATE VIEW models AS
SELECT *, make_timestamptz(trained_ns // 1000) AS trained, make_timestamptz(retrain_by_ns // 1000) AS retrain_by FROM files.models;

CREATE VIEW training_runs AS SELECT r.*, make_timestamptz(r.t_ns // 1000) AS t, split_seed, licences, build
FROM files.training_runs r
    LEFT JOIN (SELECT version, max(split_seed) AS split_seed FROM files.promotions WHERE outcome <> 'rolled-back' GROUP BY version) USING (version)
    LEFT JOIN (
        SELECT version, list_sort(list_distinct(list(licence) FILTER (kind IN ('seed', 'validation')))) AS licences, max(digest) FILTER (kind = 'build') AS build
        FROM files.training_assets WHERE outcome = 'made' GROUP BY version) USING (version);

CREATE VIEW promotions AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.promotions;
CREATE VIEW training_checks AS SELECT * EXCLUDE (percent_max), round(100 * examples / greatest(judged, 1), 2) AS percent, percent_max, make_timestamptz(t_ns // 1000) AS t FROM files.training_checks;

CREATE VIEW training_assets AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.training_assets;

CREATE VIEW feedback AS SELECT source || '/' || stream || '/' || "first" AS id, source || '/' || answer_stream || '/' || answer AS answer_id, *, make_timestamptz(t_ns // 1000) AS t FROM files.feedback;

CREATE VIEW inputs AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.inputs;

CREATE VIEW policies AS
SELECT version, any_value(name) AS name, coalesce(any_value(text) FILTER (left(sha256(text), 16) = version), any_value(text)) AS text, coalesce(min(nullif(published_ns, 0)), 0) AS published_ns,
    make_timestamptz(min(nullif(published_ns, 0)) // 1000) AS published, min(epoch) AS epoch
FROM files.policies GROUP BY version;

CREATE VIEW shadow AS SELECT *, make_timestamptz(t_ns // 1000) AS t FROM files.shadow;

CREATE TABLE epoch_rows (epoch BIGINT, published_ns BIGINT, offsets MAP(INTEGER, BIGINT), rows BIGINT, cluster VARCHAR, topic VARCHAR);

CREATE VIEW epochs AS
SELECT epoch, published_ns, make_timestamptz(published_ns // 1000) AS published, offsets, rows, cluster, topic
FROM (SELECT epoch, published_ns, offsets, rows, cluster, topic FROM files.epochs UNION ALL FROM epoch_rows);

CREATE VIEW zone_runs AS SELECT * FROM files.zone_runs;

-- What is over and has left the store.
CREATE VIEW expired AS
SELECT *, make_timestamptz(appended_ns // 1000) AS appended, make_timestamptz(expired_ns // 1000) AS expired FROM files.expired;

-- What is over and leaves the files with the next rewriting; the other views do not show it.
CREATE VIEW overdue AS
SELECT source, stream, revision, "first", step, "count", false AS refused, epoch FROM overdue.events
UNION ALL SELECT source, stream, 0, "first", 1, "count", true, epoch FROM overdue.rejected
    AND "count" > 0 AND outcome NOT IN ('repeated', 'collision', 'malformed') AND topic = 'glasses.captured' AND stage = 'zones';

CREATE TABLE segments (
    file VARCHAR, table_name VARCHAR, first_epoch BIGINT, last_epoch BIGINT, rows BIGINT, bytes BIGINT, digest VARCHAR,
    classes INTEGER[], fresh BOOLEAN);

CREATE TABLE indexes (
    file VARCHAR, first_epoch BIGINT, last_epoch BIGINT, edges BIGINT, zone_runs BIGINT, bytes BIGINT, digest VARCHAR);

-- Of segments that no index file lists. `role` says whether the numbers are of the rows themselves, or of an edge's
-- child or parent.
CREATE TABLE spans (file VARCHAR, role VARCHAR, source VARCHAR, stream VARCHAR, lowest BIGINT, highest BIGINT);

-- What was erased. Whose data it was stands nowhere in a catalog.
CREATE TABLE erasures (number BIGINT, at_ns BIGINT, epoch BIGINT, rows BIGINT, files BIGINT, rewritten_ns BIGINT, absent_ns BIGINT);

CREATE TABLE classes (class INTEGER, policy_version VARCHAR, zone VARCHAR, label VARCHAR);

CREATE TABLE store (id VARCHAR, version INTEGER, cluster VARCHAR, topic VARCHAR, partitions INTEGER[], partition_count INTEGER);

-- The words of each policy, in the order of their bits in a label.
CREATE TABLE vocabularies (
    policy_version VARCHAR, categories VARCHAR[], purposes VARCHAR[], obligations VARCHAR[], subjects VARCHAR[], regions VARCHAR[],
    retentions VARCHAR[], retention_days INTEGER[], natures VARCHAR[]);

-- Operations that move data of events in or out of a process, as the code declares them (`streams.recorder`).
CREATE TABLE io_coverage (
    operation VARCHAR, direction VARCHAR, asset VARCHAR, done_by VARCHAR, linked BOOLEAN, reads VARCHAR[], recorded_in VARCHAR[],
    reason VARCHAR, sites INTEGER, counted VARCHAR, counted_key VARCHAR);

-- What was recorded of them.
CREATE VIEW io_counts AS
SELECT 'decisions' AS counted, sink AS counted_key, epoch, sum("count")::BIGINT AS observed FROM files.decisions WHERE passed GROUP BY ALL
UNION ALL SELECT 'events', topic, epoch, sum("count")::BIGINT FROM files.events GROUP BY ALL
UNION ALL SELECT 'edges', operator, epoch, sum(child_count)::BIGINT FROM files.edges WHERE parent_source = 'training' GROUP BY ALL
UNION ALL SELECT 'rejected', '', epoch, sum("count")::BIGINT FROM files.rejected GROUP BY ALL
UNION ALL SELECT 'inputs', kind, epoch, count(*) FROM files.inputs GROUP BY ALL
UNION ALL SELECT 'epochs', '', epoch, 1 FROM (SELECT epoch FROM files.epochs UNION ALL SELECT epoch FROM epoch_rows);

-- Labels in words. A label is 16 bytes in hexadecimal, the lowest byte of a mask first (`streams.policy.label`).
CREATE VIEW labels AS
SELECT policy_version, label,
    list_filter(categories, lambda word, place: (TRY_CAST('0x' || substr(label, 1 + 2 * ((place - 1) // 8), 2) AS INTEGER) >> ((place - 1) % 8)) & 1 = 1) AS categories,
    list_filter(subjects, lambda word, place: (TRY_CAST('0x' || substr(label, 25, 2) AS INTEGER) >> (place - 1)) & 1 = 1) AS subjects,
    list_filter(purposes, lambda word, place: (TRY_CAST('0x' || substr(label, 17 + 2 * ((place - 1) // 8), 2) AS INTEGER) >> ((place - 1) % 8)) & 1 = 1) AS purposes,
    list_filter(regions, lambda word, place: (TRY_CAST('0x' || substr(label, 27, 2) AS INTEGER) >> (place - 1)) & 1 = 1) AS regions,
    list_filter(obligations, lambda word, place: (TRY_CAST('0x' || substr(label, 21 + 2 * ((place - 1) // 8), 2) AS INTEGER) >> ((place - 1) % 8)) & 1 = 1) AS obligations,
    retentions[TRY_CAST('0x' || substr(label, 29, 2) AS INTEGER) + 1] AS retention,
    retention_days[TRY_CAST('0x' || substr(label, 29, 2) AS INTEGER) + 1] AS retention_days,
    natures[TRY_CAST('0x' || substr(label, 31, 2) AS INTEGER) + 1] AS nature
FROM (
    SELECT DISTINCT policy_version, label
    FROM (SELECT policy_version, label FROM files.zone_runs UNION ALL SELECT policy_version, label FROM files.decisions) WHERE label <> '')
    LEFT JOIN vocabularies USING (policy_version);

-- Runs, event by event. Inside a run capture times are taken as evenly spaced, which those of sensors are.
CREATE VIEW event_records AS
SELECT source || '/' || stream || '/' || number || CASE WHEN revision > 0 THEN '.' || revision ELSE '' END AS id, * EXCLUDE (kept_from_ns, retention_days),
    make_timestamptz(t_ns // 1000) AS t,
    make_timestamptz(kept_from_ns // 1000) + to_days(retention_days[TRY_CAST('0x' || substr(label, 29, 2) AS INTEGER) + 1]) AS due
FROM (
    SELECT source, stream, "first" + step * nth AS number, revision, kind, zone, label, rule, policy_version, wearer, consent, session,
        topic, "partition", "offset", digest, split_from, origin, epoch,
        t_first_ns + ((t_last_ns - t_first_ns)::HUGEINT * nth // greatest("count" - 1, 1))::BIGINT AS t_ns,
        coalesce(nullif(appended_ns, 0), t_last_ns) AS kept_from_ns, retention_days
    FROM (SELECT * EXCLUDE (over_key), unnest(range("count")) AS nth FROM staying.events) LEFT JOIN vocabularies USING (policy_version));

CREATE VIEW edge_records AS
SELECT child_source || '/' || child_stream || '/' || child_number || CASE WHEN child_revision > 0 THEN '.' || child_revision ELSE '' END AS child_id,
    parent_source || '/' || parent_stream || '/' || parent_number || CASE WHEN parent_revision > 0 THEN '.' || parent_revision ELSE '' END AS parent_id, * FROM (
    SELECT child_source, child_stream, child_number, child_revision,
        parent_source, parent_stream, parent_start + unnest(range(parent_width)) AS parent_number, parent_revision,
        operator, operator_version, directness, declassifier, epoch
    FROM (
        SELECT *, child_first + child_step * i AS child_number, parent_first + parent_step * i AS parent_start
        FROM (SELECT *, unnest(range(child_count)) AS i FROM files.edges)));
