-- Derived events that a later one replaced, with that one, and the answers whose situations cite the replaced event, each in a row.
WITH replaced AS (
    SELECT child_source AS source, child_stream AS stream, parent_first + parent_step * i AS number, parent_revision AS revision,
        child_first + child_step * i AS by_number, child_revision AS by_revision
    FROM (SELECT *, unnest(range(child_count)) AS i FROM edges
        WHERE child_source = parent_source AND child_stream = parent_stream AND operator <> 'training')
), citing AS (
    SELECT child_source AS source, child_stream, child_revision, child_first + child_step * i AS child,
        parent_stream AS stream, parent_revision AS revision, parent_first + parent_step * i AS low, parent_width
    FROM (SELECT *, unnest(range(child_count)) AS i FROM edges
        WHERE parent_stream <> child_stream AND (parent_source, parent_stream, parent_revision) IN (SELECT source, stream, revision FROM replaced))
), cited AS (
    SELECT r.source, r.stream, r.number, r.revision, c.child_stream, c.child_revision, c.child
    FROM replaced r JOIN citing c ON r.source = c.source AND r.stream = c.stream AND r.revision = c.revision
        AND r.number BETWEEN c.low AND c.low + (c.parent_width - 1)
), answers AS (
    SELECT child_source AS source, child_stream AS answer_stream, child_first + child_step * i AS answer, parent_stream, parent_revision,
        parent_first + parent_step * i AS parent
    FROM (SELECT e.*, unnest(range(child_count)) AS i FROM edges e JOIN streams s ON s.source = e.child_source AND s.stream = e.child_stream
        WHERE s.kind = 'answer' AND (parent_source, parent_stream) IN (SELECT source, child_stream FROM citing))
), answered AS (
    SELECT DISTINCT c.source, c.stream, c.number, c.revision, a.answer_stream, a.answer
    FROM cited c JOIN answers a ON c.source = a.source AND c.child_stream = a.parent_stream AND c.child_revision = a.parent_revision AND c.child = a.parent
)
SELECT r.source, r.stream, r.number, r.revision, r.by_number, r.by_revision, a.answer_stream, a.answer
FROM replaced r LEFT JOIN answered a USING (source, stream, number, revision)
ORDER BY r.source, r.stream, r.number, r.revision, a.answer_stream, a.answer
