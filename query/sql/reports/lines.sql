-- Every (file, line), numbered in the order in which tracebacks compare. Where no line is known, functions of one file
-- are told apart by their names.
lines AS (
    SELECT recording, frame_id, dense_rank() OVER (ORDER BY filename, lineno, CASE WHEN lineno = 0 THEN function END) AS line_id
    FROM ({frames})
)
