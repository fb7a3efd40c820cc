-- temporary: blocks freed before their thread allocated again, biggest first. Often a buffer that could be reused.
--
-- Grain: one row per site, the function and line of the first frame outside allocators and containers.
-- Heap only: anonymous memory maps are not counted. Under sampling, all numbers are estimates.
WITH totals AS (
    SELECT stack_id, sum(temporary_bytes) AS bytes, sum(temporary_blocks) AS blocks
    FROM stack_stats
    WHERE domain = 0 AND temporary_blocks > 0
    GROUP BY stack_id
),
sites AS (
    SELECT s.user_leaf_frame_id AS frame_id, sum(t.bytes) AS bytes, sum(t.blocks) AS blocks
    FROM totals AS t
    JOIN stacks AS s ON s.stack_id = t.stack_id
    GROUP BY s.user_leaf_frame_id
)
SELECT
    f.site AS function, -- Function of the site; module and offset if neither it nor a line is known.
    f.filename AS filename, -- Its source file, or its module's path where there is no line information.
    f.lineno AS lineno, -- Its line; 0 if unknown.
    f.module AS module, -- Name of its module.
    CAST(round(sum(t.bytes)) AS BIGINT) AS bytes, -- Bytes of temporary blocks.
    CAST(round(sum(t.blocks)) AS BIGINT) AS blocks, -- Temporary blocks.
    round(100.0 * sum(t.bytes) / sum(sum(t.bytes)) OVER (), 2) AS percent, -- Share of the bytes of all sites.
    format_size(sum(t.bytes)) AS readable -- The bytes with a unit.
FROM sites AS t
JOIN frames_named AS f ON f.frame_id = t.frame_id
GROUP BY f.site, f.filename, f.lineno, f.module
ORDER BY bytes DESC, blocks DESC, function DESC, filename DESC, lineno DESC
