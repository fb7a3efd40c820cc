-- by_process: what each process allocated, kept and held at the peak of the whole recording.
--
-- Grain: one row per process image (exec begins a new one). Heap only.
WITH totals AS (
    SELECT
        process_id,
        sum(allocated_blocks) AS allocated_blocks,
        sum(allocated_bytes) AS allocated_bytes,
        sum(peak_blocks) AS peak_blocks,
        sum(peak_bytes) AS peak_bytes,
        sum(live_blocks) AS live_blocks,
        sum(live_bytes) AS live_bytes
    FROM stack_stats
    WHERE domain = 0
    GROUP BY process_id
)
SELECT
    p.process_id AS process_id, -- Key; see `processes`.
    p.pid AS pid, -- Process id in the operating system.
    p.exe AS exe, -- Path of the executable.
    p.start_ns AS start_ns, -- When recording of it began.
    p.end_ns AS end_ns, -- When it ended; null: it was still running.
    CAST(round(COALESCE(t.allocated_blocks, 0.0)) AS BIGINT) AS allocated_blocks, -- Allocations.
    CAST(round(COALESCE(t.allocated_bytes, 0.0)) AS BIGINT) AS allocated_bytes, -- Their bytes.
    CAST(round(COALESCE(t.peak_blocks, 0.0)) AS BIGINT) AS peak_blocks, -- Blocks live at the peak of the recording.
    CAST(round(COALESCE(t.peak_bytes, 0.0)) AS BIGINT) AS peak_bytes, -- Their bytes.
    p.peak_bytes AS own_peak_bytes, -- Most bytes live in this process at one time.
    p.peak_ns AS own_peak_ns, -- When that was.
    CAST(round(COALESCE(t.live_blocks, 0.0)) AS BIGINT) AS live_blocks, -- Blocks live at its end.
    CAST(round(COALESCE(t.live_bytes, 0.0)) AS BIGINT) AS live_bytes -- Their bytes.
FROM processes AS p
LEFT JOIN totals AS t ON t.process_id = p.process_id
ORDER BY p.process_id
