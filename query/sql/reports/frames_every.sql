-- Sums per frame: each stack counts for all of its frames, {how}.
by_frame{n} AS (
    SELECT
        sf.frame_id AS frame_id,
        sum(c.blocks) AS blocks,
        sum(c.bytes) AS bytes,
        sum(c.blocks_variance) AS blocks_variance,
        sum(c.bytes_variance) AS bytes_variance
    FROM {facts} AS c
    JOIN {schema}stack_frames AS sf ON sf.stack_id = c.stack_id
    WHERE {which}
    GROUP BY sf.frame_id
)
