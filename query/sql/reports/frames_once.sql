-- Sums per frame: each stack counts once for every group among its frames. A group is named by its smallest frame.
keyed{n} AS (
    SELECT frame_id, min(frame_id) OVER (PARTITION BY {keys}) AS key_id
    FROM {schema}frames_named
),
once{n} AS (
    SELECT DISTINCT
        c.stack_id AS stack_id, k.key_id AS frame_id, c.blocks AS blocks, c.bytes AS bytes,
        c.blocks_variance AS blocks_variance, c.bytes_variance AS bytes_variance
    FROM {by_stack} AS c
    JOIN {schema}stack_frames AS sf ON sf.stack_id = c.stack_id
    JOIN keyed{n} AS k ON k.frame_id = sf.frame_id
),
by_frame{n} AS (
    SELECT
        frame_id,
        sum(blocks) AS blocks,
        sum(bytes) AS bytes,
        sum(blocks_variance) AS blocks_variance,
        sum(bytes_variance) AS bytes_variance
    FROM once{n}
    GROUP BY frame_id
)
