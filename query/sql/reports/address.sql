-- Every block that contained the address, in order of time.
WITH blocks AS (
    SELECT
        process_id, thread_id, alloc_ns, free_ns, free_thread_id, address, size, stack_id, free_stack_id, kind, domain
    FROM {schema}allocations
    WHERE address <= {address} AND (address = {address} OR address > {address} - size) AND {process}
    -- Nearest to the moment are the block that is live then, and those that were freed last or allocated next.
    ORDER BY
        CASE WHEN alloc_ns > {at} THEN alloc_ns - {at} WHEN free_ns <= {at} THEN {at} - free_ns ELSE 0 END,
        alloc_ns DESC
    {limit}
),
stacks_of AS (
    SELECT stack_id FROM blocks
    UNION
    SELECT free_stack_id FROM blocks WHERE free_stack_id IS NOT NULL
),
texts AS (
    SELECT
        sf.stack_id AS stack_id,
        list_by(named_struct('filename', f.filename, 'lineno', f.lineno, 'function', f.function), sf.position) AS traceback
    FROM {schema}stack_frames AS sf
    JOIN {schema}frames_named AS f ON f.frame_id = sf.frame_id
    WHERE sf.stack_id IN (SELECT stack_id FROM stacks_of)
    GROUP BY sf.stack_id
)
SELECT
    p.pid AS pid,
    b.process_id AS process_id,
    b.thread_id AS thread_id,
    h.name AS thread,
    CASE WHEN {later} THEN 'later' WHEN {freed} THEN 'freed' ELSE 'live' END AS state,
    b.address AS address,
    {address} - b.address AS offset_bytes,
    b.size AS size,
    b.kind AS kind,
    b.domain AS domain,
    b.alloc_ns AS alloc_ns,
    b.free_ns AS free_ns,
    b.free_thread_id AS free_thread_id,
    f.filename AS filename,
    f.lineno AS lineno,
    f.function AS function,
    f.module AS module,
    x.traceback AS traceback,
    y.traceback AS free_traceback
FROM blocks AS b
LEFT JOIN {schema}processes AS p ON p.process_id = b.process_id
LEFT JOIN {schema}threads AS h ON h.thread_id = b.thread_id
LEFT JOIN {schema}stacks AS s ON s.stack_id = b.stack_id
LEFT JOIN {schema}frames_named AS f ON f.frame_id = s.user_leaf_frame_id
LEFT JOIN texts AS x ON x.stack_id = b.stack_id
LEFT JOIN texts AS y ON y.stack_id = b.free_stack_id
ORDER BY b.alloc_ns, b.free_ns, b.process_id, b.address
