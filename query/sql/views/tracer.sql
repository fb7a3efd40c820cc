-- tracer: what the recorder says of itself, as tracemalloc's get_traceback_limit and get_tracemalloc_memory do.
--
-- Grain: one row.
SELECT
    m.traceback_limit AS traceback_limit, -- Most frames that were kept of a stack; null if there was no limit.
    m.sample_interval AS sample_interval, -- Mean bytes between samples; 0 if every allocation was recorded.
    p.memory AS memory -- Bytes that the recorder used inside all processes: tables, stacks and buffers.
FROM (
    SELECT
        max(CASE WHEN key = 'max_depth' AND value <> '0' THEN CAST(value AS BIGINT) END) AS traceback_limit,
        max(CASE WHEN key = 'sample_interval' THEN CAST(value AS BIGINT) END) AS sample_interval
    FROM metadata
    WHERE key IN ('max_depth', 'sample_interval')
) AS m
CROSS JOIN (
    SELECT CAST(COALESCE(sum(recorder_bytes), 0) AS BIGINT) AS memory FROM processes
) AS p
