-- The frames of the chosen stacks of one recording.
SELECT
    {number} * 4294967296 + sf.stack_id AS sample,
    first_value(f.module ORDER BY sf.position) AS module,
    array_agg(
        named_struct('filename', f.filename, 'lineno', f.lineno, 'function', f.function) ORDER BY sf.position
    ) AS traceback
FROM {schema}stack_frames AS sf
JOIN {schema}frames_named AS f ON f.frame_id = sf.frame_id
WHERE {number} * 4294967296 + sf.stack_id IN (SELECT sample FROM largest)
GROUP BY sf.stack_id
