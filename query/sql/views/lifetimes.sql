-- lifetimes: how long blocks lived, in powers of ten.
--
-- Grain: one row per class of lifetimes that occurs. Heap only. Reads every allocation.
WITH ages AS (
    SELECT
        CASE
            WHEN free_ns IS NULL THEN 9
            WHEN free_ns - alloc_ns < 1000 THEN 1
            WHEN free_ns - alloc_ns < 10000 THEN 2
            WHEN free_ns - alloc_ns < 100000 THEN 3
            WHEN free_ns - alloc_ns < 1000000 THEN 4
            WHEN free_ns - alloc_ns < 10000000 THEN 5
            WHEN free_ns - alloc_ns < 100000000 THEN 6
            WHEN free_ns - alloc_ns < 1000000000 THEN 7
            ELSE 8
        END AS class,
        sum(weight) AS blocks,
        sum(size * weight) AS bytes
    FROM allocations
    WHERE domain = 0
    GROUP BY 1
)
SELECT
    class AS class, -- Number of the class, shortest first.
    CASE class
        WHEN 1 THEN 'below 1 us'
        WHEN 2 THEN '1 to 10 us'
        WHEN 3 THEN '10 to 100 us'
        WHEN 4 THEN '100 us to 1 ms'
        WHEN 5 THEN '1 to 10 ms'
        WHEN 6 THEN '10 to 100 ms'
        WHEN 7 THEN '100 ms to 1 s'
        WHEN 8 THEN '1 s and more'
        ELSE 'never freed'
    END AS lifetime, -- The class in words.
    CAST(round(blocks) AS BIGINT) AS blocks, -- Allocations.
    CAST(round(bytes) AS BIGINT) AS bytes -- Their bytes.
FROM ages
ORDER BY class
