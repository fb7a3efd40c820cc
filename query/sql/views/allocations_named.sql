-- allocations_named: every allocation with names instead of ids.
--
-- Grain: one row per allocation, memory maps included (domain 1). For totals, add up by stack_id first: see
-- `stack_totals`.
SELECT
    p.pid AS pid, -- Process that allocated.
    h.tid AS tid, -- Thread that allocated.
    h.name AS thread, -- Its name.
    a.alloc_ns AS alloc_ns, -- When the block was handed out.
    a.free_ns AS free_ns, -- When it was given back; null: never.
    a.free_ns - a.alloc_ns AS lifetime_ns, -- How long it lived; null: to the end.
    a.address AS address, -- Address of the block.
    a.size AS size, -- Bytes asked for.
    a.kind AS kind, -- Which call made it.
    a.domain AS domain, -- 0: heap, 1: memory map.
    a.weight AS weight, -- How many allocations the row stands for.
    a.stack_id AS stack_id, -- Its stack; see `stacks`.
    f.function AS function, -- Function of the frame that a person would name.
    f.filename AS filename, -- Its source file.
    f.lineno AS lineno, -- Its line; 0 if unknown.
    f.module AS module -- Name of its module.
FROM allocations AS a
LEFT JOIN processes AS p ON p.process_id = a.process_id
LEFT JOIN threads AS h ON h.thread_id = a.thread_id
LEFT JOIN stacks AS s ON s.stack_id = a.stack_id
LEFT JOIN frames_named AS f ON f.frame_id = s.user_leaf_frame_id
