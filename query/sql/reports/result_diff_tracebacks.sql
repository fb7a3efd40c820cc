-- Changes of tracebacks, largest first; ties in descending order of their frames.
largest AS (
    SELECT
        sample, {each} old_size, size, old_count, count,
        row_number() OVER (
            ORDER BY
                abs(size - old_size) DESC, size DESC, abs(count - old_count) DESC, count DESC, frames DESC
        ) AS place
    FROM (
        SELECT frames, sample, {each} old_size, size, old_count, count
        FROM changes
        ORDER BY abs(size - old_size) DESC, size DESC, abs(count - old_count) DESC, count DESC, frames DESC
        {limit}
    )
),
texts AS (
    {texts}
),
described AS (
    SELECT
        place,
        {each_min}
        min(old_size) AS old_size,
        min(size) AS size,
        min(old_count) AS old_count,
        min(count) AS count,
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
    old_size,
    size,
    size - old_size AS size_diff,
    old_count,
    count,
    count - old_count AS count_diff,
    CASE WHEN count > 0 THEN CAST(size AS DOUBLE) / count END AS average,
    {each}
    {trend}
    traceback
FROM described
ORDER BY place
