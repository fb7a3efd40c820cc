-- Every stack as a list of files and lines, most recent first, and whether all its frames are known.
SELECT
    f.stack_id AS stack_id,
    f.frames AS frames,
    s.quality = 'complete' AS is_whole
FROM (
    SELECT
        sf.stack_id AS stack_id, list_by(named_struct('filename', f.file, 'lineno', f.line), sf.position) AS frames
    FROM {schema}stack_frames AS sf
    JOIN {schema}frames AS f ON f.frame_id = sf.frame_id
    GROUP BY sf.stack_id
) AS f
JOIN {schema}stacks AS s ON s.stack_id = f.stack_id
