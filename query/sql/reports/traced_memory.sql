-- Traced memory, {what}: what is live at the end of that time, and the most that was live at once during it.
WITH events AS (
    SELECT alloc_ns AS ns, size * weight AS change
    FROM {schema}allocations
    WHERE {domains} AND alloc_ns <= {at}
    UNION ALL
    -- A block goes when it is freed, or with its process.
    SELECT least(a.free_ns, p.end_ns) AS ns, -a.size * a.weight AS change
    FROM {schema}allocations AS a
    JOIN {schema}processes AS p ON p.process_id = a.process_id
    WHERE {domains} AND least(a.free_ns, p.end_ns) <= {at}
),
-- What happens in the same nanosecond counts as one change.
changes AS (
    SELECT ns, sum(change) AS change FROM events GROUP BY ns
),
running AS (
    SELECT ns, sum(change) OVER (ORDER BY ns ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS bytes FROM changes
),
-- The time begins with what was live already.
highest AS (
    SELECT bytes, ns
    FROM running
    WHERE ns >= COALESCE((SELECT max(ns) FROM running WHERE ns <= {since}), {since})
    ORDER BY bytes DESC, ns
    LIMIT 1
),
live AS (
    SELECT COALESCE(sum(size * weight), 0.0) AS bytes
    FROM {schema}allocations
    WHERE {domains} AND {live}
)
SELECT
    CAST(round(live.bytes) AS BIGINT) AS current,
    CAST(round(COALESCE(highest.bytes, 0.0)) AS BIGINT) AS peak,
    greatest(COALESCE(highest.ns, {since}), {since}) AS peak_ns
FROM live
LEFT JOIN highest ON TRUE
