"""The canned questions in DuckDB, on the same Parquet files: the same rows, and how long they take.

    duckdb_compare.py rows RECORDING QUESTIONS     prints one JSON line of rows per question
    duckdb_compare.py time RECORDING QUESTIONS     prints milliseconds, best of five, per question

QUESTIONS is a file of JSON lines {"name", "sql"} as `examples/timing canned DIR` prints them. Needs the package duckdb.
"""

import decimal
import json
import re
import sys
import time
from pathlib import Path

import duckdb

VIEWS = Path(__file__).parent.parent / "sql" / "views"
UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]


def format_size():
    """tracemalloc's rule as a macro."""
    cases = ["WHEN abs(size) < 10240 THEN printf('%.0f B', CAST(size AS DOUBLE))"]
    for power, unit in enumerate(UNITS[1:], 1):
        value = f"(size / {1024.0 ** power})"
        cases.append(f"WHEN abs({value}) < 100 THEN printf('%.1f {unit}', {value})")
        cases.append(f"WHEN abs({value}) < 10240 OR '{unit}' = 'TiB' THEN printf('%.0f {unit}', {value})")
    return f"CREATE MACRO format_size(size) AS CASE {' '.join(cases)} END"


def translate(sql):
    """DataFusion's dialect into DuckDB's: struct literals and first_value as an aggregate differ."""
    sql = re.sub(r"first_value\((\S+) ORDER BY ([^)]+)\)", r"first(\1 ORDER BY \2)", sql)
    return re.sub(r"named_struct\('filename', ([^,]+), 'lineno', ([^,]+), 'function', ([^)]+)\)",
                  r"{'filename': \1, 'lineno': \2, 'function': \3}", sql.replace("make_array(", "list_value("))


def connect(recording):
    recording = Path(recording)
    db = duckdb.connect()
    db.execute("SET threads = 2")
    db.execute(format_size())
    db.execute("CREATE MACRO list_by(value, position) AS list(value ORDER BY position)")
    db.execute("CREATE MACRO fnmatch(text, pattern) AS text GLOB pattern")
    db.execute("CREATE MACRO filename_match(text, pattern) AS text GLOB pattern")
    for entry in recording.iterdir():
        if entry.is_dir():
            db.execute(f"CREATE VIEW {entry.name} AS SELECT * FROM read_parquet('{entry}/*.parquet')")
        elif entry.suffix == ".parquet":
            db.execute(f"CREATE VIEW {entry.stem} AS SELECT * FROM read_parquet('{entry}')")
    waiting = sorted(VIEWS.glob("*.sql"))
    while waiting:
        later = []
        for path in waiting:
            try:
                db.execute(f"CREATE VIEW {path.stem} AS {translate(path.read_text())}")
            except duckdb.CatalogException as error:
                later.append(path)
                if len(later) == len(waiting):
                    raise error
        waiting = later
    return db


def plain(value):
    if isinstance(value, decimal.Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def main(command, recording, questions):
    db = connect(recording)
    for line in Path(questions).read_text().splitlines():
        question = json.loads(line)
        sql = translate(question["sql"])
        if command == "rows":
            rows = db.execute(sql).fetchall()
            print(json.dumps({"name": question["name"], "rows": [[plain(v) for v in row] for row in rows]}))
            continue
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            db.execute(sql).fetchall()
            best = min(best, time.perf_counter() - start)
        print(json.dumps({"name": question["name"], "ms": best * 1e3}))


if __name__ == "__main__":
    main(*sys.argv[1:])
