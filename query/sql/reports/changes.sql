-- The groups of all sides, matched by content.
sides AS (
    {sides}
),
changes AS (
    SELECT
        {columns}
        {sizes}
    FROM sides
    GROUP BY {keys}
)
