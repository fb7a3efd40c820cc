-- by_size: allocations by power of two of their size.
--
-- Grain: one row per size class that occurs. Heap only. Reads every allocation.
WITH sizes AS (
    SELECT
        size,
        sum(weight) AS blocks,
        sum(CASE WHEN free_ns IS NULL THEN weight ELSE 0.0 END) AS live_blocks
    FROM allocations
    WHERE domain = 0
    GROUP BY size
),
classes AS (
    SELECT
        CASE WHEN size <= 1 THEN size ELSE CAST(power(2.0, ceil(log2(CAST(size AS DOUBLE)))) AS BIGINT) END AS up_to,
        size,
        blocks,
        live_blocks
    FROM sizes
)
SELECT
    up_to AS up_to, -- Largest size of the class, a power of two; the class begins above the half of it.
    format_size(up_to) AS readable, -- The same with a unit.
    CAST(round(sum(blocks)) AS BIGINT) AS allocated_blocks, -- Allocations.
    CAST(round(sum(size * blocks)) AS BIGINT) AS allocated_bytes, -- Their bytes.
    CAST(round(sum(live_blocks)) AS BIGINT) AS live_blocks, -- Blocks never freed.
    CAST(round(sum(size * live_blocks)) AS BIGINT) AS live_bytes -- Their bytes.
FROM classes
GROUP BY up_to
ORDER BY up_to
