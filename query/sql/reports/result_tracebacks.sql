-- Tracebacks, largest first; ties in descending order of their frames.
largest AS (
    SELECT frames, sample, size, count, size_error, count_error
    FROM groups
    ORDER BY size DESC, count DESC, frames DESC
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
    largest.size AS size,
    largest.count AS count,
    CASE WHEN largest.count > 0 THEN CAST(largest.size AS DOUBLE) / largest.count END AS average,
    largest.size_error AS size_error,
    largest.count_error AS count_error,
    x.traceback AS traceback
FROM largest
JOIN texts AS x ON x.sample = largest.sample
ORDER BY size DESC, count DESC, largest.frames DESC
