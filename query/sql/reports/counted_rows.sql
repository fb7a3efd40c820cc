-- What is counted, from every allocation: {what}.
counted{n} AS (
    SELECT
        {columns}
        sum(weight) AS blocks,
        sum(size * weight) AS bytes,
        {blocks_variance} AS blocks_variance,
        {bytes_variance} AS bytes_variance
    FROM {schema}allocations
    WHERE {where}
    GROUP BY {group}
)
