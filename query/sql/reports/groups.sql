-- The groups.
groups{n} AS (
    SELECT
        {columns}
        CAST(round(sum(g.bytes)) AS BIGINT) AS size,
        CAST(round(sum(g.blocks)) AS BIGINT) AS count,
        sqrt(sum(g.bytes_variance)) AS size_error,
        sqrt(sum(g.blocks_variance)) AS count_error
    FROM {from}
    GROUP BY {keys}
)
