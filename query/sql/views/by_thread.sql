-- by_thread: what each thread allocated, and what of that was freed by others or never.
--
-- Grain: one row per thread. Heap only. Reads every allocation.
WITH totals AS (
    SELECT
        thread_id,
        sum(weight) AS blocks,
        sum(size * weight) AS bytes,
        sum(CASE WHEN free_ns IS NULL THEN weight ELSE 0.0 END) AS live_blocks,
        sum(CASE WHEN free_ns IS NULL THEN size * weight ELSE 0.0 END) AS live_bytes,
        sum(CASE WHEN free_thread_id <> thread_id THEN weight ELSE 0.0 END) AS freed_elsewhere
    FROM allocations
    WHERE domain = 0
    GROUP BY thread_id
)
SELECT
    h.thread_id AS thread_id, -- Key; see `threads`.
    p.pid AS pid, -- Process id in the operating system.
    h.tid AS tid, -- Thread id in the operating system.
    h.name AS name, -- Last name seen.
    CAST(round(COALESCE(t.blocks, 0.0)) AS BIGINT) AS allocated_blocks, -- Allocations.
    CAST(round(COALESCE(t.bytes, 0.0)) AS BIGINT) AS allocated_bytes, -- Their bytes.
    CAST(round(COALESCE(t.live_blocks, 0.0)) AS BIGINT) AS live_blocks, -- Blocks never freed.
    CAST(round(COALESCE(t.live_bytes, 0.0)) AS BIGINT) AS live_bytes, -- Their bytes.
    CAST(round(COALESCE(t.freed_elsewhere, 0.0)) AS BIGINT) AS freed_elsewhere -- Blocks that another thread freed.
FROM threads AS h
JOIN processes AS p ON p.process_id = h.process_id
LEFT JOIN totals AS t ON t.thread_id = h.thread_id
ORDER BY allocated_bytes DESC, h.thread_id
