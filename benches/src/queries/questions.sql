-- Questions that every engine can be asked in the same words, over the tables of a recording. Each starts with a line
-- `-- name`; integers and texts only, in an order that leaves no ties.

-- totals
select count(*), sum(size), max(size), count(free_ns) from allocations;

-- by kind
select kind, count(*), sum(size) from allocations group by kind order by kind;

-- by size
select size, count(*) as n from allocations group by size order by n desc, size limit 20;

-- live at the end
select stack_id, count(*) as n, sum(size) as bytes from allocations
where free_ns is null group by stack_id order by bytes desc, stack_id limit 20;

-- live at the fullest moment
with moment as (select bin_ns from timeline order by live_bytes desc, bin_ns limit 1)
select stack_id, count(*) as n, sum(size) as bytes from allocations cross join moment
where alloc_ns <= bin_ns and (free_ns is null or free_ns > bin_ns)
group by stack_id order by bytes desc, stack_id limit 20;

-- in a tenth of a second
select stack_id, count(*) as n, sum(size) as bytes from allocations
where alloc_ns between 200000000 and 300000000 group by stack_id order by bytes desc, stack_id limit 20;

-- functions that allocate
with by_stack as (select stack_id, count(*) as n, sum(size) as bytes from allocations group by stack_id)
select f.function, sum(n), sum(bytes) as b from by_stack
join stacks s on s.stack_id = by_stack.stack_id join frames f on f.frame_id = s.user_leaf_frame_id
group by f.function order by b desc, f.function limit 20;

-- functions, with what they call
with by_stack as (select stack_id, count(*) as n, sum(size) as bytes from allocations group by stack_id)
select f.function, sum(n), sum(bytes) as b from by_stack
join stack_frames s on s.stack_id = by_stack.stack_id join frames f on f.frame_id = s.frame_id
where s.is_first_function group by f.function order by b desc, f.function limit 20;

-- lifetimes
select case when free_ns is null then 'for ever' when free_ns - alloc_ns < 1000 then 'below 1 us'
    when free_ns - alloc_ns < 1000000 then 'below 1 ms' else 'longer' end as lifetime, count(*), sum(size)
from allocations group by 1 order by 1;

-- short-lived by stack
select stack_id, count(*) as n from allocations where free_ns - alloc_ns < 10000
group by stack_id order by n desc, stack_id limit 20;

-- over time
select alloc_ns - alloc_ns % 10000000 as bin, count(*), sum(size) from allocations group by 1 order by 1;

-- reused addresses
select count(*), max(n) from (select address, count(*) as n from allocations group by address) as a where n > 10;
