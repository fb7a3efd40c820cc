-- Sums per frame: each stack counts for one frame.
by_frame{n} AS (
    SELECT
        s.{leaf} AS frame_id,
        sum(c.blocks) AS blocks,
        sum(c.bytes) AS bytes,
        sum(c.blocks_variance) AS blocks_variance,
        sum(c.bytes_variance) AS bytes_variance
    FROM {facts} AS c
    JOIN {schema}stacks AS s ON s.stack_id = c.stack_id
    GROUP BY s.{leaf}
)
