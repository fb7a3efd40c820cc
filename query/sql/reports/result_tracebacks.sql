-- Tracebacks, largest first; ties in descending order of their frames.
largest AS (
    SELECT
        sample, size, count, size_error, count_error,
        row_number() OVER (ORDER BY size DESC, count DESC, frames DESC) AS place
    FROM (
        SELECT frames, sample, size, count, size_error, count_error
        FROM groups
        ORDER BY size DESC, count DESC, frames DESC
        {limit}
    )
),
texts AS (
    {texts}
),
described AS (
    SELECT
        place,
        min(size) AS size,
        min(count) AS count,
        min(size_error) AS size_error,
        min(count_error) AS count_error,
        first_value(x.module ORDER BY x.position) AS module,
        list_by(named_struct('filename', x.filename, 'lineno', x.lineno, 'function', x.function), x.position) AS traceback
    FROM largest
    JOIN texts AS x ON x.sample = largest.sample
    GROUP BY place
)
SELECT
    traceback[1]['filename'] AS filename,
    traceback[1]['lineno'] AS lineno,
    traceback[1]['function'] AS function,
    module,
    traceback[1]['filename'] || ':' || CAST(traceback[1]['lineno'] AS VARCHAR) AS label,
    size,
    count,
    CASE WHEN count > 0 THEN CAST(size AS DOUBLE) / count END AS average,
    size_error,
    count_error,
    traceback
FROM described
ORDER BY place
