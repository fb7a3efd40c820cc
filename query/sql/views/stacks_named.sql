-- stacks_named: every stack as text, with the frame that a person would name.
--
-- Grain: one row per stack.
-- `stack` is in the format of flame graph tools; making it reads every frame of every stack.
WITH texts AS (
    SELECT sf.stack_id AS stack_id, array_to_string(list_by(f.function, -sf.position), ';') AS stack
    FROM stack_frames AS sf
    JOIN frames AS f ON f.frame_id = sf.frame_id
    GROUP BY sf.stack_id
)
SELECT
    s.stack_id AS stack_id, -- Key; see `stacks`.
    s.stack_hash AS stack_hash, -- Equal in other recordings of the same program.
    s.depth AS depth, -- Number of frames.
    s.quality AS quality, -- How completely it was unwound; see `stacks`.
    f.function AS function, -- Function of the frame that a person would name.
    f.filename AS filename, -- Its source file.
    f.lineno AS lineno, -- Its line; 0 if unknown.
    f.module AS module, -- Name of its module.
    COALESCE(t.stack, '') AS stack -- All functions, outermost first, separated by semicolons.
FROM stacks AS s
LEFT JOIN frames_named AS f ON f.frame_id = s.user_leaf_frame_id
LEFT JOIN texts AS t ON t.stack_id = s.stack_id
