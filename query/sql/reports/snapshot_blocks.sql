-- The blocks live at a moment, equal ones counted: {what}.
SELECT stack_id, domain, size, CAST(round(sum(weight)) AS BIGINT) AS count
FROM {schema}allocations
WHERE {where}
GROUP BY stack_id, domain, size
