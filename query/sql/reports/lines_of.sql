-- The frames of one recording.
SELECT {number} AS recording, frame_id, filename, lineno, function FROM {schema}frames_named
