-- Bytes live at a moment, from every allocation.
SELECT COALESCE(sum(size * weight), 0.0) AS bytes FROM {schema}allocations WHERE {domains} AND {where}
