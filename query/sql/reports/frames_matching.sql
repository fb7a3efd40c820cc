-- Frames that a filter matches.
SELECT frame_id FROM {schema}frames_named WHERE {condition}
