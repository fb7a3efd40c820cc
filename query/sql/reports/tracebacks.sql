-- The stacks that are counted as lists of lines, most recent first. Stacks that differ only otherwise are one traceback.
tracebacks{n} AS (
    SELECT sf.stack_id AS stack_id, array_agg(l.line_id ORDER BY sf.position) AS frames
    FROM {schema}stack_frames AS sf
    JOIN lines AS l ON l.frame_id = sf.frame_id AND l.recording = {number}
    WHERE sf.stack_id IN (SELECT stack_id FROM {facts})
    GROUP BY sf.stack_id
)
