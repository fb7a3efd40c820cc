-- timeline_readable: heap memory over time in units for people; `timeline` has the exact numbers.
--
-- Grain: one row per bin of equal width, all processes together.
SELECT
    bin_ns / 1e9 AS seconds, -- Start of the bin.
    format_size(live_bytes) AS live, -- Heap bytes live at the end of the bin.
    format_size(max_live_bytes) AS highest, -- Most heap bytes live at one time within the bin.
    live_blocks AS live_blocks, -- Heap blocks live at the end of the bin.
    format_size(allocated_bytes) AS allocated, -- Bytes allocated in the bin.
    allocated_blocks AS allocated_blocks, -- Blocks allocated in the bin.
    format_size(freed_bytes) AS freed, -- Bytes freed in the bin.
    freed_blocks AS freed_blocks, -- Blocks freed in the bin.
    format_size(rss_bytes) AS resident -- Resident memory of all processes; null before the first sample.
FROM timeline
ORDER BY bin_ns
