//! Running programs with a bound, compiling workloads once, recording and asking.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest that any program of these tests may run; a hang is a failure.
pub const BOUND: Duration = Duration::from_secs(180);

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The binary under test.
pub fn tmq() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tmq"));
    command.env("XDG_CACHE_HOME", scratch_root().join("cache")).env_remove("LD_PRELOAD");
    command
}

fn scratch_root() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// A new empty directory.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = scratch_root().join(format!("{name}-{}-{n}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a command to its end, at most [`BOUND`].
pub fn run(command: &mut Command) -> Output {
    run_bounded(command, BOUND)
}

/// Runs a command to its end, at most `bound`; a longer run is killed and fails the test.
pub fn run_bounded(command: &mut Command, bound: Duration) -> Output {
    let shown = format!("{command:?}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {shown}: {e} (see CONTRIBUTING.md for the programs tests need)"));
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).map(|_| bytes)
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > bound {
            let _ = child.kill();
            panic!("{shown} did not end within {bound:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: out.join().unwrap().unwrap(), stderr: err.join().unwrap().unwrap() }
}

/// Exit status as a shell shows it.
pub fn shell_status(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The compiled form of `tests/workloads/NAME` (`.c`, `.cpp`; `unload_*` become libraries).
pub fn workload(name: &str) -> PathBuf {
    workload_with(name, &[])
}

/// As [`workload`], with more compiler flags.
pub fn workload_with(name: &str, flags: &[&str]) -> PathBuf {
    static DONE: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    let mut done = DONE.get_or_init(Mutex::default).lock().unwrap();
    let key = format!("{name} {}", flags.join(" "));
    if let Some(path) = done.get(&key) {
        return path.clone();
    }
    let source = root().join("tests/workloads").join(name);
    let stem = source.file_stem().unwrap().to_string_lossy().into_owned();
    let mut out = scratch("workload").join(&stem);
    let mut compiler = Command::new(if name.ends_with(".cpp") { "c++" } else { "cc" });
    compiler.args(["-O2", "-g", "-w", "-fno-builtin", "-pthread"]).args(flags);
    if stem.starts_with("unload_") {
        out.set_extension("so");
        compiler.args(["-shared", "-fPIC"]);
    }
    let output = run(compiler.arg(&source).arg("-o").arg(&out).arg("-ldl"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    done.insert(key, out.clone());
    out
}

/// Compiles a C source text.
pub fn compile(source: &str, flags: &[&str]) -> PathBuf {
    let dir = scratch("compiled");
    let (file, out) = (dir.join("program.c"), dir.join("program"));
    std::fs::write(&file, source).unwrap();
    let output = run(Command::new("cc").args(flags).arg(&file).arg("-o").arg(&out).args(["-pthread", "-lm"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// A finished run under `tmq record`.
pub struct Recording {
    /// Its directory.
    pub dir: PathBuf,
    /// What the program (and tmq) printed and how it ended.
    pub output: Output,
}

/// Records a command with options.
pub fn record_with<S: AsRef<OsStr>>(options: &[&str], command: &[S]) -> Recording {
    let dir = scratch("recording").join("run.tmq");
    let mut tmq = tmq();
    tmq.arg("record").args(options).arg("-o").arg(&dir).arg("--").args(command);
    Recording { output: run(&mut tmq), dir }
}

/// Records a command.
pub fn record<S: AsRef<OsStr>>(command: &[S]) -> Recording {
    record_with(&[], command)
}

impl Recording {
    /// Opens what is in `dir`.
    pub fn at(dir: PathBuf) -> Self {
        let output = Output { status: ExitStatus::from_raw(0), stdout: Vec::new(), stderr: Vec::new() };
        Self { dir, output }
    }

    /// `tmq info --format json`.
    pub fn info(&self) -> Value {
        let output = run(tmq().arg("info").arg(&self.dir).args(["--format", "json"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A number of `tmq info`.
    pub fn number(&self, key: &str) -> i64 {
        let info = self.info();
        info[key].as_i64().unwrap_or_else(|| panic!("{key} in {info}"))
    }

    /// Rows of a query, each a JSON object.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let output = run(tmq().arg("sql").arg("-r").arg(&self.dir).args(["--format", "json"]).arg(query));
        assert!(output.status.success(), "{query}\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Vec<Value>>(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// The one value of a query of one row and one column.
    pub fn value(&self, query: &str) -> Value {
        let rows = self.sql(query);
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows[0].as_object().unwrap().values().next().cloned().unwrap_or(Value::Null)
    }

    /// [`Self::value`] as an integer.
    pub fn integer(&self, query: &str) -> i64 {
        let value = self.value(query);
        value.as_i64().or_else(|| value.as_f64().map(|f| f as i64)).unwrap_or_else(|| panic!("{query}: {value}"))
    }

    /// Rows of the recording agree with each other: ids resolve, frees follow allocations, totals add up.
    pub fn check_consistency(&self) {
        for query in [
            "select count(*) from allocations a left join stacks s on a.stack_id = s.stack_id where s.stack_id is null",
            "select count(*) from allocations a left join threads t on a.thread_id = t.thread_id where t.thread_id is null",
            "select count(*) from allocations a left join processes p on a.process_id = p.process_id \
             where p.process_id is null",
            "select count(*) from allocations where free_ns < alloc_ns or size < 0 or alloc_ns < 0",
            "select count(*) from allocations where (free_ns is null) <> (free_thread_id is null)",
            "select count(*) from stack_frames f left join frames g on f.frame_id = g.frame_id where g.frame_id is null",
            "select count(*) from callsites where parent_id >= callsite_id",
        ] {
            assert_eq!(self.integer(query), 0, "{query}\nin {}", self.dir.display());
        }
        let rows = self.integer("select count(*) from allocations where domain = 0");
        assert_eq!(self.number("allocations"), rows);
        self.check_statistics();
    }

    /// What the files say of their columns of texts: a reader skips what it need not read because of it.
    fn check_statistics(&self) {
        let kinds = ["calloc", "malloc", "memalign", "mmap", "mremap", "realloc"];
        let qualities = ["broken", "complete", "fallback", "none", "truncated"];
        for (table, column, values) in [("allocations", "kind", &kinds[..]), ("stacks", "quality", &qualities)] {
            // A sum of conditions skips nothing.
            let wrong = values.iter().map(|value| {
                let skipping = format!("select count(*) from {table} where {column} = '{value}'");
                let reading = format!("select sum(case when {column} = '{value}' then 1 else 0 end) from {table}");
                format!("abs(({skipping}) - coalesce(({reading}), 0))")
            });
            let query = format!("select {}", wrong.collect::<Vec<_>>().join(" + "));
            assert_eq!(self.integer(&query), 0, "{query}\nin {}", self.dir.display());
            let others = format!("select count(*) from {table} where {column} not in ('{}')", values.join("', '"));
            assert_eq!(self.integer(&others), 0, "{others}\nin {}", self.dir.display());
        }
    }

    /// No event was lost, no stack failed verification, no block changed hands out of order.
    pub fn check_nothing_lost(&self) {
        assert_eq!(self.number("lost_events"), 0, "{:?}", self.sql("select * from losses"));
        let bad =
            "select count(*) from losses where reason in ('stack_mismatch', 'unpaired', 'no_chunk', 'corrupt_stream')";
        assert_eq!(self.integer(bad), 0, "{:?}", self.sql("select * from losses"));
    }
}
