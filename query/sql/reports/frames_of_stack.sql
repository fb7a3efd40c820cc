-- The frames of one stack, most recent first.
SELECT
    sf.position AS position, f.function AS function, f.filename AS filename, f.lineno AS lineno, f.module AS module,
    f.is_inline AS is_inline, f.is_plumbing AS is_plumbing
FROM {schema}stack_frames AS sf
JOIN {schema}frames_named AS f ON f.frame_id = sf.frame_id
WHERE sf.stack_id = {stack}
ORDER BY sf.position
