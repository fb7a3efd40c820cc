"""Answers questions about a recording in DuckDB: questions.py RECORDING QUESTION TIMES. Rows as CSV, once for each time."""

import csv
import sys
from pathlib import Path

import duckdb

recording, question, times = sys.argv[1:]
db = duckdb.connect()
for entry in Path(recording).iterdir():
    files = f"{entry}/*.parquet" if entry.is_dir() else str(entry)
    if entry.is_dir() or entry.suffix == ".parquet":
        name = entry.stem.replace("'", "''")
        db.execute(f"create view {name} as select * from read_parquet('{files}')")
out = csv.writer(sys.stdout, lineterminator="\n")
for _ in range(int(times)):
    answer = db.execute(question)
    out.writerow([column[0] for column in answer.description])
    out.writerows(answer.fetchall())
