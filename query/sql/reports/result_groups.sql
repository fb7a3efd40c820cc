-- Groups, largest first; ties in descending order of their keys.
SELECT
    {filename} AS filename,
    {lineno} AS lineno,
    {function} AS function,
    {module} AS module,
    {label} AS label,
    size,
    count,
    CASE WHEN count > 0 THEN CAST(size AS DOUBLE) / count END AS average,
    size_error,
    count_error,
    {traceback} AS traceback
FROM groups
ORDER BY size DESC, count DESC, {order}
{limit}
