-- What the filters keep: any inclusive one matches, and no exclusive one.
kept{n} AS (
    SELECT {columns}
    FROM counted{n}
    WHERE {where}
)
