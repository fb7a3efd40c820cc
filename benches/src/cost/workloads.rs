//! The programs that are measured, and their inputs, which are generated and the same in every run.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::redis::Redis;
use super::scale::Scale;
use crate::error::{Error, Result, in_file};
use crate::programs;

/// How counts of two runs may differ: programs copy their environment, in which profilers have variables of their own.
const SLACK: f64 = 100.0;
/// redis reads as much at once as has arrived, and allocates buffers accordingly.
const SLACK_OF_SERVER: f64 = 0.1;
/// Malloc/free pairs of the programs written for this.
const PAIRS: u64 = 2_000_000;
/// Of the storm.
const THREADS: u64 = 16;
/// Rows that make 0.96 million allocations in sqlite3.
const SQL_ROWS: u64 = 106_000;
/// Records that make 8 MB of JSON.
const JSON_RECORDS: u64 = 110_000;
const PERL_VALUES: u64 = 300_000;
const PYTHON_RECORDS: u64 = 60_000;

/// A program to measure.
#[derive(Debug)]
pub struct Workload {
    /// As it is chosen with `--only`.
    pub name: &'static str,
    /// One line for the table.
    pub about: &'static str,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Variables it runs with under every profiler.
    pub environment: &'static [(&'static str, &'static str)],
    /// The client that drives it, if it is a server.
    pub client: Option<Redis>,
}

impl Workload {
    /// By how many allocations a run may differ from the count of `expected`.
    pub fn slack(&self, expected: f64) -> f64 {
        if self.client.is_some() { SLACK + expected * SLACK_OF_SERVER } else { SLACK }
    }
}

/// Names of all workloads, in the order in which they are measured.
pub const NAMES: &[&str] =
    &["nothing", "shallow", "deep", "exchange", "storm", "sqlite3", "jq", "perl", "python", "redis"];

/// Compiles or generates what a workload needs in `directory`. `scale` says how large it is.
///
/// # Errors
/// A program is missing, or the directory cannot be written to.
pub fn prepare(name: &str, directory: &Path, scale: Scale) -> Result<Workload> {
    let own = |about, arguments: &[u64]| own(name, about, directory, arguments);
    match name {
        "nothing" => installed("true", "a program that does nothing: what a recording costs in any case", &[], &[])
            .map(|workload| Workload { name: "nothing", ..workload }),
        "shallow" => own("1 thread, 2 M malloc/free pairs from one place", &[scale.of(PAIRS)]),
        "deep" => own("1 thread, 2 M pairs, 16 frames of which up to four are new", &[1, scale.of(PAIRS)]),
        "exchange" => own("the same in 2 threads, which free each other's blocks", &[2, scale.of(PAIRS)]),
        "storm" => own("16 threads replace random blocks, 2 M pairs", &[THREADS, scale.of(PAIRS)]),
        "sqlite3" => {
            let script = written(directory, "script.sql", &sql(scale.of(SQL_ROWS)))?;
            let read = [":memory:".into(), concat(".read ", &script)];
            installed("sqlite3", "0.96 M allocations of inserts, an index, joins and text functions", &read, &[])
        }
        "jq" => {
            let input = written(directory, "records.json", &json(scale.of(JSON_RECORDS)))?;
            installed("jq", "8 MB of JSON, parsed and printed", &[".".into(), input.into()], &[])
        }
        "perl" => {
            let script = written(directory, "hashes.pl", &perl(scale.of(PERL_VALUES)))?;
            installed("perl", "hashes of hashes", &[script.into()], &[("PERL_HASH_SEED", "0")])
        }
        "python" => {
            let script = written(directory, "records.py", &python(scale.of(PYTHON_RECORDS)))?;
            // Its own allocator would ask malloc for arenas only.
            let environment = &[("PYTHONMALLOC", "malloc"), ("PYTHONHASHSEED", "0"), ("PYTHONNOUSERSITE", "1")];
            let arguments = ["-S".into(), script.into()];
            installed("python3", "JSON encoded and decoded, every object by malloc", &arguments, environment)
                .map(|workload| Workload { name: "python", ..workload })
        }
        "redis" => {
            let redis = Redis::new(directory, scale)?;
            let workload =
                installed("redis-server", "driven by redis-benchmark, 0.4 M commands", &redis.arguments(), &[])?;
            Ok(Workload { name: "redis", client: Some(redis), ..workload })
        }
        _ => Err(Error::Missing(format!("a workload {name}; there are {}", NAMES.join(", ")))),
    }
}

/// A program of `programs/`.
fn own(name: &str, about: &'static str, directory: &Path, arguments: &[u64]) -> Result<Workload> {
    let name = NAMES.iter().find(|known| **known == name).copied().unwrap_or_default();
    let source = if name == "deep" { "exchange" } else { name };
    let program = programs::compile(source, &directory.join(name), &[])?;
    let arguments = arguments.iter().map(|n| n.to_string().into());
    let command = std::iter::once(program.into()).chain(arguments).collect();
    Ok(Workload { name, about, command, environment: &[], client: None })
}

/// A program of this machine. pyenv and its like put scripts in front of programs; those of the system are taken.
fn installed(
    name: &'static str,
    about: &'static str,
    arguments: &[OsString],
    environment: &'static [(&'static str, &'static str)],
) -> Result<Workload> {
    let system = Path::new("/usr/bin").join(name);
    let program = if system.is_file() { Some(system) } else { programs::find(name) };
    let program =
        program.ok_or_else(|| Error::Missing(format!("{name} (Debian: apt-get install {})", package(name))))?;
    let command = std::iter::once(program.into()).chain(arguments.iter().cloned()).collect();
    Ok(Workload { name, about, command, environment, client: None })
}

fn package(program: &str) -> &str {
    match program {
        "redis-server" => "redis-server redis-tools",
        "true" => "coreutils",
        _ => program,
    }
}

fn written(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).map_err(in_file(&path))?;
    Ok(path)
}

fn concat(text: &str, path: &Path) -> OsString {
    let mut all = OsString::from(text);
    all.push(path);
    all
}

fn sql(rows: u64) -> String {
    format!(
        "create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})
    insert into t select i, 'name' || (i * 7919 % {rows}), i * 1.5 from n;
create index ix on t(b);
select count(*), sum(c) from t where b like 'name1%';
select b, count(*) from t group by substr(b, 1, 6) order by 2 desc, 1 limit 5;
select count(*) from t x join t y on x.b = 'name' || y.a;
select sum(length(upper(b) || lower(b) || replace(b, 'name', 'n'))) from t;
"
    )
}

fn json(records: u64) -> String {
    let mut text = String::from("[");
    for i in 0..records {
        let comma = if i == 0 { "" } else { ",\n" };
        let on = if i % 2 == 0 { "null" } else { "true" };
        let (a, b, x) = (i % 7, i % 13, i * 3);
        let _ = write!(text, r#"{comma}{{"id":{i},"name":"user{i}","tags":["a{a}","b{b}"],"x":{x}.5,"on":{on}}}"#);
    }
    text + "]"
}

fn perl(values: u64) -> String {
    format!(
        r#"my %h;
for my $i (1 .. {values}) {{ $h{{"k" . ($i % 3000)}}{{"v$i"}} = "x" x ($i % 50); }}
my $sum = 0;
for my $k (sort keys %h) {{ $sum += length $h{{$k}}{{$_}} for sort keys %{{$h{{$k}}}}; }}
print "$sum\n";
"#
    )
}

fn python(records: u64) -> String {
    format!(
        r#"import json
rows = [{{"id": i, "name": "user%d" % i, "tags": [str(i % 7), str(i % 13)], "x": i * 1.5}} for i in range({records})]
text = json.dumps(rows)
back = json.loads(text)
print(len(text), sum(row["id"] for row in back), len(json.dumps(back, indent=1)))
"#
    )
}
