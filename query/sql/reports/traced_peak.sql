-- Traced memory, {what}, when the whole recording has its peak in that time.
WITH live AS (
    {live}
)
SELECT CAST(round(live.bytes) AS BIGINT) AS current, moments.live_bytes AS peak, moments.at_ns AS peak_ns
FROM live
JOIN {schema}moments ON moments.kind = 'peak'
