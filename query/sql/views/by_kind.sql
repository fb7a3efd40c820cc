-- by_kind: allocations by the call that made them.
--
-- Grain: one row per kind and domain, memory maps included. Reads every allocation.
SELECT
    kind AS kind, -- malloc, calloc, memalign, realloc, mmap or mremap.
    domain AS domain, -- 0: heap, 1: memory maps; imported recordings keep their own numbers.
    CAST(round(sum(weight)) AS BIGINT) AS allocated_blocks, -- Allocations.
    CAST(round(sum(size * weight)) AS BIGINT) AS allocated_bytes, -- Their bytes.
    CAST(round(sum(CASE WHEN free_ns IS NULL THEN weight ELSE 0.0 END)) AS BIGINT) AS live_blocks, -- Never freed.
    CAST(round(sum(CASE WHEN free_ns IS NULL THEN size * weight ELSE 0.0 END)) AS BIGINT) AS live_bytes -- Their bytes.
FROM allocations
GROUP BY kind, domain
ORDER BY allocated_bytes DESC, kind, domain
