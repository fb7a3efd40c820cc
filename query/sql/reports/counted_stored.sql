-- What is counted per stack, from the sums that sealing made: {what}.
counted{n} AS (
    SELECT
        {columns}
        sum({blocks}) AS blocks,
        sum({bytes}) AS bytes,
        {blocks_variance} AS blocks_variance,
        {bytes_variance} AS bytes_variance
    FROM {schema}stack_stats
    WHERE {where}
    GROUP BY {group}
)
