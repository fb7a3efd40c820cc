-- Every (file, line), numbered in the order in which tracebacks compare.
lines AS (
    SELECT recording, frame_id, dense_rank() OVER (ORDER BY filename, lineno) AS line_id
    FROM ({frames})
)
