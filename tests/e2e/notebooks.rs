//! The README's Python, run as written, and every table in pyarrow and DuckDB.

use std::process::Command;

use crate::support::{record_with, root, run, scratch, workload};

/// The Python block of the README that follows the heading.
fn readme_python() -> String {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let start = text.find("```python\n").expect("the README shows Python") + "```python\n".len();
    let end = start + text[start..].find("```").unwrap();
    text[start..end].to_owned()
}

#[test]
fn readme_code_gives_the_sums_of_tmq_sql() {
    let recording = record_with(&["-q"], &[workload("producers.cpp")]);
    let dir = scratch("notebook");
    std::os::unix::fs::symlink(&recording.dir, dir.join("app.tmq")).unwrap();
    let total = recording.integer("select sum(size) from allocations where domain = 0");
    // The code leaves its three sums in variables of these names.
    let code = readme_python() + "\nprint(int(pandas_bytes), int(polars_bytes), int(duckdb_bytes))\n";
    let file = dir.join("notebook.py");
    std::fs::write(&file, code).unwrap();
    let output = run(Command::new("python3").arg(&file).current_dir(&dir));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed.lines().last(), Some(format!("{total} {total} {total}").as_str()), "{printed}");
}

#[test]
fn every_table_opens_elsewhere() {
    let recording = record_with(&["-q"], &[workload("producers.cpp")]);
    let script = "
import sys, glob, os, pyarrow.parquet as pq, duckdb
directory = sys.argv[1]
for name in sorted(os.listdir(directory)):
    path = os.path.join(directory, name)
    if name.endswith('.parquet') or (os.path.isdir(path) and glob.glob(path + '/*.parquet')):
        table = name.removesuffix('.parquet')
        files = path if name.endswith('.parquet') else path + '/*.parquet'
        rows = pq.read_table(path).num_rows
        assert rows == duckdb.sql(f\"select count(*) from '{files}'\").fetchall()[0][0], name
        print(table, rows)
";
    let output = run(Command::new("python3").args(["-c", script]).arg(&recording.dir));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (table, rows) = line.split_once(' ').unwrap();
        assert_eq!(recording.integer(&format!("select count(*) from {table}")).to_string(), rows, "{table}");
    }
}

/// The same questions give the same rows in `tmq sql` and DuckDB.
#[test]
fn ten_questions_in_duckdb() {
    let recording = record_with(&["-q"], &[workload("producers.cpp")]);
    let questions = [
        "select count(*) as a, sum(size) as b, max(size) as c from allocations",
        "select kind, count(*) as n from allocations group by kind order by kind",
        "select thread_id, sum(size) as b from allocations where domain = 0 group by thread_id order by thread_id",
        "select stack_id, count(*) as n, sum(size) as b from allocations group by stack_id order by b desc, stack_id limit 10",
        "select count(*) as n from allocations where free_ns is null",
        "select f.function, sum(a.size) as b from allocations a join stacks s on a.stack_id = s.stack_id \
         join frames f on f.frame_id = s.user_leaf_frame_id group by f.function order by b desc, f.function limit 10",
        "select max(free_ns - alloc_ns) as longest, min(free_ns - alloc_ns) as shortest from allocations",
        "select size - size % 64 as class, count(*) as n from allocations group by class order by class",
        "select count(*) as n from allocations where thread_id <> free_thread_id",
        "select depth, count(*) as n from stacks group by depth order by depth",
        "select sum(p.bytes) as b, sum(p.blocks) as n from peak p",
        "select g.file, count(distinct f.stack_id) as n from stack_frames f join frames g on f.frame_id = g.frame_id \
         where f.is_first_file group by g.file order by n desc, g.file limit 5",
    ];
    let script = "
import sys, json, glob, os, duckdb
d = sys.argv[1]
con = duckdb.connect()
for name in os.listdir(d):
    path = os.path.join(d, name)
    files = path if name.endswith('.parquet') else path + '/*.parquet'
    if name.endswith('.parquet') or glob.glob(path + '/*.parquet'):
        con.sql(f\"create view {name.removesuffix('.parquet')} as select * from '{files}'\")
for q in json.loads(sys.argv[2]):
    rel = con.sql(q)
    print(json.dumps([dict(zip(rel.columns, row)) for row in rel.fetchall()], default=float))
";
    let list = serde_json::to_string(&questions).unwrap();
    let output = run(Command::new("python3").args(["-c", script]).arg(&recording.dir).arg(list));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for (question, line) in questions.iter().zip(text.lines()) {
        let duck: Vec<serde_json::Value> = serde_json::from_str(line).unwrap();
        let ours = recording.sql(question);
        let plain = |rows: &[serde_json::Value]| -> Vec<Vec<String>> {
            let cell = |v: &serde_json::Value| v.as_f64().map_or_else(|| v.to_string(), |f| f.to_string());
            rows.iter()
                .map(|r| {
                    let mut cells: Vec<_> = r.as_object().unwrap().iter().collect();
                    cells.sort_by_key(|(key, _)| (*key).clone());
                    cells.into_iter().map(|(k, v)| format!("{k}={}", cell(v))).collect()
                })
                .collect()
        };
        assert_eq!(plain(&ours), plain(&duck), "{question}");
    }
}
