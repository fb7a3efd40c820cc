-- Changes, largest first; ties in descending order of their keys.
SELECT
    {filename} AS filename,
    {lineno} AS lineno,
    {function} AS function,
    {module} AS module,
    {label} AS label,
    old_size,
    size,
    size - old_size AS size_diff,
    old_count,
    count,
    count - old_count AS count_diff,
    CASE WHEN count > 0 THEN CAST(size AS DOUBLE) / count END AS average,
    {each}
    {trend}
    {traceback} AS traceback
FROM changes
ORDER BY abs(size - old_size) DESC, size DESC, abs(count - old_count) DESC, count DESC, {order}
{limit}
