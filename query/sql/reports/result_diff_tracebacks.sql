-- Changes of tracebacks, largest first; ties in descending order of their frames.
largest AS (
    SELECT frames, sample, {each} old_size, size, old_count, count
    FROM changes
    ORDER BY abs(size - old_size) DESC, size DESC, abs(count - old_count) DESC, count DESC, frames DESC
    {limit}
),
texts AS (
    {texts}
)
SELECT
    x.traceback[1]['filename'] AS filename,
    x.traceback[1]['lineno'] AS lineno,
    x.traceback[1]['function'] AS function,
    x.module AS module,
    x.traceback[1]['filename'] || ':' || CAST(x.traceback[1]['lineno'] AS VARCHAR) AS label,
    largest.old_size AS old_size,
    largest.size AS size,
    largest.size - largest.old_size AS size_diff,
    largest.old_count AS old_count,
    largest.count AS count,
    largest.count - largest.old_count AS count_diff,
    CASE WHEN largest.count > 0 THEN CAST(largest.size AS DOUBLE) / largest.count END AS average,
    {each}
    x.traceback AS traceback
FROM largest
JOIN texts AS x ON x.sample = largest.sample
ORDER BY
    abs(largest.size - largest.old_size) DESC, largest.size DESC, abs(largest.count - largest.old_count) DESC, largest.count DESC,
    largest.frames DESC
