-- Stacks of which any frame is among those that a filter matches.
SELECT stack_id FROM {schema}stack_frames WHERE frame_id IN ({frames})
