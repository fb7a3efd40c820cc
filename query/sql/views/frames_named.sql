-- frames_named: every frame with the name of its module, in the words of tracemalloc (filename, lineno).
--
-- Grain: one row per frame.
SELECT
    f.frame_id AS frame_id, -- Key; see `frames`.
    f.function AS function, -- Function; `??` if unknown.
    CASE
        WHEN f.function = '??' AND f.line = 0 THEN COALESCE(m.name || '+0x' || to_hex(f.offset), '??')
        ELSE f.function
    END AS site, -- Function; where neither it nor a line is known, module and offset of the call.
    f.file AS filename, -- Source file, or the module's path where there is no line information.
    f.line AS lineno, -- Line; 0 if unknown.
    COALESCE(m.name, '<unknown>') AS module, -- Name of the module; `<unknown>` outside every module.
    COALESCE(m.path, '<unknown>') AS module_path, -- Its path.
    f.is_inline AS is_inline, -- Whether the compiler expanded it into the next outer frame.
    f.is_plumbing AS is_plumbing -- Whether it belongs to an allocator or a container library.
FROM frames AS f
LEFT JOIN modules AS m ON m.module_id = f.module_id
