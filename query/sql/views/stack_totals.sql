-- stack_totals: what each stack allocated, kept and held at the peak, all processes together.
--
-- Grain: one row per stack that allocated from the heap. Under sampling, all numbers are estimates.
SELECT
    stack_id AS stack_id, -- Key; see `stacks`.
    sum(allocated_blocks) AS allocated_blocks, -- Allocations.
    sum(allocated_bytes) AS allocated_bytes, -- Their bytes.
    sum(live_blocks) AS live_blocks, -- Blocks never freed.
    sum(live_bytes) AS live_bytes, -- Their bytes.
    sum(peak_blocks) AS peak_blocks, -- Blocks live at the peak.
    sum(peak_bytes) AS peak_bytes, -- Their bytes.
    sum(temporary_blocks) AS temporary_blocks, -- Blocks freed before their thread allocated again.
    sum(temporary_bytes) AS temporary_bytes, -- Their bytes.
    CASE
        WHEN sum(allocated_blocks) > sum(live_blocks)
        THEN sum(lifetime_sum_ns) / (sum(allocated_blocks) - sum(live_blocks))
    END AS lifetime_mean_ns, -- Mean lifetime of freed blocks; null if none was freed.
    min(lifetime_min_ns) AS lifetime_min_ns, -- Shortest lifetime of a freed block.
    max(lifetime_max_ns) AS lifetime_max_ns, -- Longest lifetime of a freed block.
    min(size_min) AS size_min, -- Smallest block.
    max(size_max) AS size_max, -- Largest block.
    min(first_ns) AS first_ns, -- First allocation.
    max(last_ns) AS last_ns -- Last allocation.
FROM stack_stats
WHERE domain = 0
GROUP BY stack_id
