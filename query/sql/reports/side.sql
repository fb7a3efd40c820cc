-- One side of a comparison.
SELECT {number} AS side, {columns} size, count FROM groups{n}
