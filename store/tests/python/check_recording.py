#!/usr/bin/env python3
"""Reads every table of a recording with pyarrow and DuckDB and compares what they see.

Usage: check_recording.py RECORDING

Exit status 0: both engines read every table, agree with the manifest, and the tables agree with each other.
"""

import json
import pathlib
import sys

import duckdb
import pyarrow.parquet as pq


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    manifest = json.loads((root / "tmq.json").read_text())
    assert manifest["state"] == "sealed", manifest["state"]
    tables: dict[str, list[dict]] = {}
    for file in manifest["files"]:
        tables.setdefault(file["table"], []).append(file)
    database = duckdb.connect()
    for name, files in tables.items():
        paths = [str(root / file["path"]) for file in files]
        rows = sum(file["rows"] for file in files)
        by_arrow = sum(pq.read_table(path).num_rows for path in paths)
        database.execute(f"create view {name} as select * from read_parquet({paths!r})")
        (by_duckdb,) = database.execute(f"select count(*) from {name}").fetchone()
        assert by_arrow == by_duckdb == rows, (name, by_arrow, by_duckdb, rows)
        compare(database, name, paths)
    for query in QUERIES:
        found = database.execute(query).fetchall()
        assert found == [], f"{query}\n{found[:5]}"
    print(f"{root}: {len(tables)} tables, {sum(f['rows'] for f in manifest['files'])} rows")


def compare(database: duckdb.DuckDBPyConnection, name: str, paths: list[str]) -> None:
    """Every column has the same sum, least and most value for both engines."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.concat_tables([pq.read_table(path) for path in paths])
    for field in table.schema:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            continue
        column = table[field.name]
        least_most = pc.min_max(column).as_py()
        mine = (least_most["min"], least_most["max"], len(column) - column.null_count)
        theirs = database.execute(f'select min("{field.name}"), max("{field.name}"), count("{field.name}") from {name}')
        assert mine == theirs.fetchone(), (name, field.name)


# Each must find nothing.
QUERIES = [
    "select * from allocations where free_ns < alloc_ns",
    "select * from allocations where stack_id not in (select stack_id from stacks)",
    "select * from allocations where thread_id not in (select thread_id from threads)",
    "select * from allocations where process_id not in (select process_id from processes)",
    "select * from stack_frames where frame_id not in (select frame_id from frames)",
    "select * from callsites where parent_id >= callsite_id",
    "select stack_id from stacks where depth <> len(frames) or frames[1] <> leaf_frame_id",
    """select stack_id from stacks join (select stack_id, count(*) n from stack_frames group by all) using (stack_id)
       where n <> depth""",
    # Sums agree with the rows they were made from.
    """select stack_id, process_id, domain, sum(weight) n, sum(size * weight) b, sum(weight) filter (free_ns is null) l
       from allocations where (select value from metadata where key = 'sample_interval') = '0' group by all
       except select stack_id, process_id, domain, allocated_blocks, allocated_bytes, nullif(live_blocks, 0)
       from stack_stats""",
    """select process_id, count(*) from allocations where domain = 0 group by all
       except select process_id, allocations from processes""",
    """select * from (select round(sum(bytes)) b from peak), moments where kind = 'peak' and b <> live_bytes""",
    """select * from (select max(max_live_bytes) b from timeline), moments where kind = 'peak' and b <> live_bytes""",
]


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
