-- Stacks whose one frame is among those that a filter matches.
SELECT stack_id FROM {schema}stacks WHERE {leaf} IN ({frames})
