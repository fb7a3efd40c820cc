-- Sums per frame: each stack counts once for every group among its frames. A group is named by its smallest frame.
keyed{n} AS (
    SELECT frame_id, min(frame_id) OVER (PARTITION BY {keys}) AS key_id
    FROM {schema}frames_named
),
once{n} AS (
    SELECT DISTINCT sf.stack_id AS stack_id, k.key_id AS frame_id
    FROM {schema}stack_frames AS sf
    JOIN keyed{n} AS k ON k.frame_id = sf.frame_id
    WHERE sf.stack_id IN (SELECT stack_id FROM {facts})
),
by_frame{n} AS (
    SELECT
        o.frame_id AS frame_id,
        sum(c.blocks) AS blocks,
        sum(c.bytes) AS bytes,
        sum(c.blocks_variance) AS blocks_variance,
        sum(c.bytes_variance) AS bytes_variance
    FROM {facts} AS c
    JOIN once{n} AS o ON o.stack_id = c.stack_id
    GROUP BY o.frame_id
)
