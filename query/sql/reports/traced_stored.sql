-- Bytes live at the end, from the sums that sealing made.
SELECT COALESCE(sum(live_bytes), 0.0) AS bytes FROM {schema}stack_stats WHERE {domains}
