-- The blocks live at a moment: {what}.
SELECT
    process_id, thread_id, alloc_ns, free_ns, free_thread_id, address, size, stack_id, free_stack_id, kind, domain,
    weight, {at} - alloc_ns AS age_ns
FROM {schema}allocations
WHERE {where}
