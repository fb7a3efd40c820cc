-- One row per stack.
(
        SELECT
            stack_id, sum(blocks) AS blocks, sum(bytes) AS bytes, sum(blocks_variance) AS blocks_variance,
            sum(bytes_variance) AS bytes_variance
        FROM {facts}
        GROUP BY stack_id
    )
