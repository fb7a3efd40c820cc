-- The frames of all stacks of one recording.
SELECT
    {number} * 4294967296 + sf.stack_id AS sample, sf.position AS position, f.filename AS filename, f.lineno AS lineno,
    f.function AS function, f.module AS module
FROM {schema}stack_frames AS sf
JOIN {schema}frames_named AS f ON f.frame_id = sf.frame_id
