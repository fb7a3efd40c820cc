-- The stacks that are counted as lists of lines, most recent first. Stacks that differ only otherwise are one traceback.
tracebacks{n} AS (
    SELECT
        sf.stack_id AS stack_id,
        list_by(l.line_id, sf.position) AS frames,
        min(c.blocks) AS blocks,
        min(c.bytes) AS bytes,
        min(c.blocks_variance) AS blocks_variance,
        min(c.bytes_variance) AS bytes_variance
    FROM {by_stack} AS c
    JOIN {schema}stack_frames AS sf ON sf.stack_id = c.stack_id
    JOIN lines AS l ON l.frame_id = sf.frame_id AND l.recording = {number}
    GROUP BY sf.stack_id
)
