-- Every stack as a list of files and lines, most recent first.
SELECT sf.stack_id AS stack_id, list_by(named_struct('filename', f.file, 'lineno', f.line), sf.position) AS frames
FROM {schema}stack_frames AS sf
JOIN {schema}frames AS f ON f.frame_id = sf.frame_id
GROUP BY sf.stack_id
