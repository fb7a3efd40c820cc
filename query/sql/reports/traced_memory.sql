-- Traced memory, {what}: what is live at the end of that time, and the most that was live at once during it.
WITH traced AS (
    -- What was live at any time of it. A block goes when it is freed, or with its process.
    SELECT a.alloc_ns AS alloc_ns, least(a.free_ns, p.end_ns) AS end_ns, a.size * a.weight AS bytes
    FROM {schema}allocations AS a
    JOIN {schema}processes AS p ON p.process_id = a.process_id
    WHERE {domains} AND a.alloc_ns <= {at} AND (a.free_ns IS NULL OR a.free_ns > {since})
),
events AS (
    -- The time begins with what was live already.
    SELECT greatest(alloc_ns, {since}) AS ns, bytes AS change
    FROM traced
    WHERE end_ns IS NULL OR end_ns > {since}
    UNION ALL
    SELECT end_ns AS ns, -bytes AS change
    FROM traced
    WHERE end_ns > {since} AND end_ns <= {at}
),
-- What happens in the same nanosecond counts as one change.
changes AS (
    SELECT ns, sum(change) AS change FROM events GROUP BY ns
),
running AS (
    SELECT ns, sum(change) OVER (ORDER BY ns ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS bytes FROM changes
),
highest AS (
    SELECT bytes, ns FROM running ORDER BY bytes DESC, ns LIMIT 1
),
live AS (
    {live}
)
SELECT
    CAST(round(live.bytes) AS BIGINT) AS current,
    CAST(round(COALESCE(highest.bytes, 0.0)) AS BIGINT) AS peak,
    COALESCE(highest.ns, {since}) AS peak_ns
FROM live
LEFT JOIN highest ON TRUE
