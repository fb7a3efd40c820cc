//! Whole families of processes: pipelines, servers under load, daemons.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{BOUND, Recording, record_with, run, run_bounded, scratch, tmq};

#[test]
fn shell_pipeline() {
    let file = scratch("pipeline").join("big.json");
    let rows: Vec<String> = (0..5000).map(|i| format!(r#"{{"id":{i},"name":"user{}"}}"#, i * 7919 % 5000)).collect();
    std::fs::write(&file, format!("[{}]", rows.join(","))).unwrap();
    let script = format!("jq . {} | sort | head", file.display());
    let bare = run(Command::new("sh").args(["-c", &script]));
    let recording = record_with(&["-q"], &["sh", "-c", &script]);
    assert_eq!(recording.output.stdout, bare.stdout);
    assert_eq!(recording.output.status.code(), bare.status.code());
    recording.check_consistency();
    recording.check_nothing_lost();
    let exes: Vec<String> = recording
        .sql("select exe from processes")
        .iter()
        .map(|r| r["exe"].as_str().unwrap().rsplit('/').next().unwrap().to_owned())
        .collect();
    for name in ["jq", "sort", "head"] {
        assert!(exes.iter().any(|e| e == name), "{name} in {exes:?}");
    }
}

#[test]
fn no_follow_records_one_process() {
    let recording = record_with(&["-q", "--no-follow"], &["sh", "-c", "/bin/echo a; /bin/echo b; true"]);
    assert_eq!(recording.output.stdout, b"a\nb\n");
    assert_eq!(recording.number("processes"), 1);
}

#[test]
fn redis_under_load() {
    let dir = scratch("redis");
    let port = 20_000 + std::process::id() % 20_000;
    let port = port.to_string();
    let recording_dir = dir.join("redis.tmq");
    let mut server = tmq()
        .args(["record", "-q", "-o"])
        .arg(&recording_dir)
        .args(["--", "redis-server", "--port", &port, "--save", "", "--appendonly", "no", "--dir"])
        .arg(&dir)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ping = || Command::new("redis-cli").args(["-p", &port, "ping"]).output().is_ok_and(|o| o.stdout == b"PONG\n");
    let start = Instant::now();
    while !ping() {
        assert!(start.elapsed() < Duration::from_secs(30), "redis-server does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    let bench = run_bounded(
        Command::new("redis-benchmark").args([
            "-p",
            &port,
            "-n",
            "20000",
            "-q",
            "-t",
            "set,get,lpush,hset",
            "-d",
            "100",
            "-r",
            "10000",
        ]),
        BOUND,
    );
    assert!(bench.status.success());
    // A background save forks.
    run(Command::new("redis-cli").args(["-p", &port, "bgsave"]));
    std::thread::sleep(Duration::from_millis(500));
    run(Command::new("redis-cli").args(["-p", &port, "shutdown", "nosave"]));
    let status = server.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let recording = Recording::at(recording_dir);
    recording.check_consistency();
    recording.check_nothing_lost();
    assert!(recording.number("allocations") > 50_000);
    assert!(recording.number("processes") >= 2, "the background save is a process of the recording");
    let top = String::from_utf8(run(tmq().arg("top").arg(&recording.dir)).stdout).unwrap();
    assert!(!top.contains("zmalloc"), "plumbing is not whom a person would name:\n{top}");
}
