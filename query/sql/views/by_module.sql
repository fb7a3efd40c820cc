-- by_module: what each module (executable or library) allocated, kept and held at the peak.
--
-- Grain: one row per module name, that of the first frame outside allocators and containers. Heap only.
WITH totals AS (
    SELECT
        s.user_leaf_frame_id AS frame_id,
        sum(t.allocated_blocks) AS allocated_blocks,
        sum(t.allocated_bytes) AS allocated_bytes,
        sum(t.peak_blocks) AS peak_blocks,
        sum(t.peak_bytes) AS peak_bytes,
        sum(t.live_blocks) AS live_blocks,
        sum(t.live_bytes) AS live_bytes
    FROM stack_stats AS t
    JOIN stacks AS s ON s.stack_id = t.stack_id
    WHERE t.domain = 0
    GROUP BY s.user_leaf_frame_id
)
SELECT
    f.module AS module, -- Name of the module.
    CAST(round(sum(t.allocated_blocks)) AS BIGINT) AS allocated_blocks, -- Allocations.
    CAST(round(sum(t.allocated_bytes)) AS BIGINT) AS allocated_bytes, -- Their bytes.
    CAST(round(sum(t.peak_blocks)) AS BIGINT) AS peak_blocks, -- Blocks live at the peak.
    CAST(round(sum(t.peak_bytes)) AS BIGINT) AS peak_bytes, -- Their bytes.
    CAST(round(sum(t.live_blocks)) AS BIGINT) AS live_blocks, -- Blocks never freed.
    CAST(round(sum(t.live_bytes)) AS BIGINT) AS live_bytes -- Their bytes.
FROM totals AS t
JOIN frames_named AS f ON f.frame_id = t.frame_id
GROUP BY f.module
ORDER BY peak_bytes DESC, f.module
