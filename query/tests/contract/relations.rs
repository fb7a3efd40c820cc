//! tracemalloc's operations in SQL: snapshots as recordings, reports and relations over them.

use tmq_query::report::{Filters, FrameFilter};
use tmq_query::tracemalloc::{AnyFilter, Filter, KeyType, Snapshot};
use tmq_query::{Error, Moment, RecordingRef, Session};

use super::data::create_snapshots;
use crate::support::{Generated, Scratch, Shape, generate, rows, session_of};

fn open(scratch: &Scratch) -> Session {
    let (s1, s2) = create_snapshots();
    s1.write_recording(scratch.join("s1.tmq")).unwrap();
    s2.write_recording(scratch.join("s2.tmq")).unwrap();
    Session::open(&["s1", "s2"].map(|n| RecordingRef::new(scratch.join(&format!("{n}.tmq"))))).unwrap()
}

async fn lines(session: &Session, sql: &str) -> Vec<String> {
    rows(session, sql).await.iter().map(|row| row.join("|")).collect()
}

#[tokio::test]
async fn statistics_and_compare_to_are_relations() {
    let scratch = Scratch::new();
    let session = open(&scratch);
    let sql = "SELECT filename, lineno, size, count FROM statistics(group_by => 'lineno', recording => 's1')";
    assert_eq!(lines(&session, sql).await, ["b.py|1|66|1", "a.py|2|30|3", "<unknown>|0|7|1", "a.py|5|2|1"]);
    let sql = "SELECT filename, size, count FROM statistics('filename', cumulative => true, recording => 's1') AS s";
    assert_eq!(lines(&session, sql).await, ["b.py|98|5", "a.py|32|4", "<unknown>|7|1"]);
    let sql = "SELECT label, size, size_diff, count, count_diff FROM compare_to('s1', 's2', 'lineno')";
    assert_eq!(
        lines(&session, sql).await,
        [
            "a.py:5|5002|5000|2|1",
            "c.py:578|400|400|1|1",
            "b.py:1|0|-66|0|-1",
            "<unknown>:0|0|-7|0|-1",
            "a.py:2|30|0|3|0"
        ]
    );
    let sql = "SELECT c.size_diff FROM compare_to(old => 's1@end', new => 's2@peak', group_by => 'traceback') AS c \
               JOIN statistics(group_by => 'filename', recording => 's2') AS s ON s.filename = c.filename \
               WHERE s.filename = 'a.py' ORDER BY 1";
    assert_eq!(lines(&session, sql).await, ["0", "5000"]);
    let sql = "SELECT size FROM statistics('lineno', include => 'a.py:5', recording => 's1')";
    assert_eq!(lines(&session, sql).await, ["2"]);
    let sql = "SELECT size FROM statistics('lineno', include => 'a.py:5', include => 'b.py', not_domain => 1, \
               recording => 's1')";
    assert_eq!(lines(&session, sql).await, ["66"]);
    let sql = "SELECT size FROM statistics('lineno', domain => 3, recording => 's1')";
    assert_eq!(lines(&session, sql).await, ["7"]);
    let sql = "SELECT recording, sum(size) FROM statistics('lineno') GROUP BY recording ORDER BY recording";
    assert_eq!(lines(&session, sql).await, ["s1|105", "s2|5432"]);
}

#[tokio::test]
async fn snapshots_and_tracebacks_are_relations() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let at = |a: &&tmq_store::schema::AllocationsRow| {
        a.alloc_ns <= made.mark_ns && a.free_ns.is_none_or(|f| f > made.mark_ns) && a.process_id == 0
    };
    let count = made.allocations.iter().filter(at).count().to_string();
    let sql = "SELECT count(*) FROM snapshot(at => 'mark:half') WHERE process_id = 0";
    assert_eq!(rows(&session, sql).await, [[count]]);
    let ages = "SELECT min(alloc_ns + age_ns), max(alloc_ns + age_ns) FROM snapshot(at => 'mark:half')";
    assert_eq!(rows(&session, ages).await, [[made.mark_ns.to_string(), made.mark_ns.to_string()]]);
    let peak = "SELECT CAST(sum(size) AS BIGINT) FROM snapshot() WHERE domain = 0";
    assert_eq!(rows(&session, peak).await, rows(&session, "SELECT live_bytes FROM moments WHERE kind = 'peak'").await);
    let block = &made.allocations[made.allocations.len() / 2];
    let sql = format!(
        "SELECT count(*) FROM address('{:#x}', at => '{}ns') WHERE address = {} AND state = 'live' AND size = {}",
        block.address, block.alloc_ns, block.address, block.size
    );
    assert_eq!(rows(&session, &sql).await, [["1"]], "{sql}");
    let stack = &made.stacks[7];
    let sql = "SELECT function FROM traceback(stack_id => 7)";
    let functions: Vec<_> = stack.frames.iter().map(|f| made.frames[*f as usize].function.clone()).collect();
    assert_eq!(rows(&session, sql).await.concat(), functions);
}

/// Live heap bytes after every event, by time.
fn live_bytes(made: &Generated) -> Vec<(i64, i64)> {
    let mut changes: std::collections::BTreeMap<i64, i64> = std::collections::BTreeMap::new();
    for a in made.allocations.iter().filter(|a| a.domain == 0) {
        *changes.entry(a.alloc_ns).or_default() += a.size;
        let end = made.processes[a.process_id as usize].end_ns;
        if let Some(gone) = a.free_ns.into_iter().chain(end).min() {
            *changes.entry(gone).or_default() -= a.size;
        }
    }
    let mut live = 0;
    changes
        .into_iter()
        .map(|(ns, change)| {
            live += change;
            (ns, live)
        })
        .collect()
}

#[tokio::test]
async fn traced_memory_is_current_and_peak_of_a_window() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let live = live_bytes(&made);
    let at = |ns: i64| live.iter().take_while(|(t, _)| *t <= ns).last().map_or(0, |(_, bytes)| *bytes);
    for (since, until) in [(0, made.end_ns / 3), (made.end_ns / 3, made.end_ns / 2), (made.end_ns / 2, made.end_ns / 2)]
    {
        let within = live.iter().filter(|(ns, _)| *ns > since && *ns <= until).map(|(_, bytes)| *bytes);
        let peak = within.max().unwrap_or(0).max(at(since));
        let sql = format!("SELECT current, peak FROM traced_memory(at => '{until}ns', since => '{since}ns')");
        assert_eq!(rows(&session, &sql).await, [[at(until).to_string(), peak.to_string()]], "{sql}");
    }
    let peak = "SELECT peak, peak_ns FROM traced_memory()";
    assert_eq!(
        rows(&session, peak).await,
        rows(&session, "SELECT live_bytes, at_ns FROM moments WHERE kind = 'peak'").await
    );
    let current = "SELECT current FROM traced_memory('end')";
    assert_eq!(rows(&session, current).await, rows(&session, "SELECT CAST(sum(bytes) AS BIGINT) FROM leaks").await);
    let (_scratch, empty) = crate::support::empty_session();
    assert_eq!(rows(&empty, "SELECT current, peak FROM traced_memory()").await, [["0", "0"]]);
    let scratch = Scratch::new();
    let imported = open(&scratch);
    let sql = "SELECT current, peak FROM traced_memory('end', 'start', 's1')";
    assert_eq!(rows(&imported, sql).await, [["105", "105"]]);
    assert_eq!(
        lines(&imported, "SELECT recording, traceback_limit, memory FROM tracer ORDER BY 1").await,
        ["s1|2|0", "s2|2|0"]
    );
}

#[tokio::test]
async fn wrong_arguments_say_what_is_right() {
    let (_scratch, _, session) = session_of(&Shape { allocations: 10, ..Shape::default() });
    for (sql, expected) in [
        ("SELECT 1 FROM statistics(group_by => 'line')", "unknown key_type: 'line': use one of site"),
        ("SELECT 1 FROM statistics(grup_by => 'lineno')", "statistics has no argument grup_by"),
        ("SELECT 1 FROM statistics('traceback', cumulative => true)", "cumulative mode cannot by used"),
        ("SELECT 1 FROM statistics(at => 'noon')", "unknown moment \"noon\""),
        ("SELECT 1 FROM statistics(at => 1)", "at is a text"),
        ("SELECT 1 FROM statistics(at => 'mark:x')", "has no mark \"x\""),
        ("SELECT 1 FROM statistics(recording => 'x')", "no recording named \"x\" is open: there is app"),
        ("SELECT 1 FROM statistics(at => 'end', at => 'end')", "at is given twice"),
        ("SELECT 1 FROM compare_to('peak')", "compare_to needs two moments"),
        ("SELECT 1 FROM traceback()", "traceback needs a stack"),
        ("SELECT 1 FROM address()", "address needs an address"),
        ("SELECT 1 FROM address('1f')", "address is an address such as '0x55d0c8a0f2a0', 1f is not"),
        ("SELECT 1 FROM traced_memory(at => 'start', since => '5ns')", "the window is empty: 5ns is after start"),
        ("SELECT 1 FROM allocations TABLESAMPLE (1)", "TABLESAMPLE is not supported"),
        ("SELECT 1 FROM nowhere", "nowhere"),
    ] {
        let error = session.sql(sql).await.unwrap_err();
        assert!(matches!(error, Error::Query(_)) && error.to_string().contains(expected), "{sql}: {error}");
    }
}

#[tokio::test]
async fn functions_are_cpythons() {
    let (_scratch, session) = crate::support::empty_session();
    for (sql, expected) in [
        ("fnmatch('/a/b.py', '*.py')", "true"),
        ("fnmatch('a%b', 'a%*')", "true"),
        ("fnmatch('axb', 'a%*')", "false"),
        ("fnmatch('a\nb', '*b')", "true"),
        ("fnmatch('a', '[!a-c]')", "false"),
        ("fnmatch(NULL, '*')", "NULL"),
        ("fnmatch('a', NULL)", "NULL"),
        ("filename_match('a.pyc', 'a.py')", "true"),
        ("filename_match('a.py', '*.pyc')", "true"),
        ("filename_match('a.pyo', 'a.py')", "false"),
        ("format_size(10240)", "10.0 KiB"),
        ("format_size(0, true)", "+0 B"),
        ("format_size(-5000)", "-5000 B"),
        ("format_size(NULL)", "NULL"),
        ("list_by(column1, column2)", "[b, a]"),
    ] {
        let from = if sql.starts_with("list_by") { " FROM (VALUES ('a', 2), ('b', 1))" } else { "" };
        assert_eq!(rows(&session, &format!("SELECT {sql}{from}")).await, [[expected]], "{sql}");
    }
    let sql =
        "SELECT count(*) FILTER (WHERE fnmatch(t, p)) FROM (VALUES ('ab', 'a*'), ('ab', '?'), ('b', '[b]')) AS v(t, p)";
    assert_eq!(rows(&session, sql).await, [["2"]]);
}

#[test]
fn sums_that_would_not_be_exact_are_refused() {
    let scratch = Scratch::new();
    let huge = Snapshot::new(vec![super::data::trace(0, i64::MAX / 2, &[("a.py", 1)], 1); 4], 1);
    assert_eq!(huge.statistics(KeyType::Lineno, false).unwrap()[0].size, i128::from(i64::MAX / 2) * 4);
    let error = huge.write_recording(scratch.join("huge.tmq")).unwrap_err();
    assert!(error.to_string().contains("2^53"), "{error}");
    assert!(!scratch.join("huge.tmq").exists());
}

#[tokio::test]
async fn snapshots_survive_recordings_and_pickles() {
    let scratch = Scratch::new();
    let session = open(&scratch);
    let (s1, _) = create_snapshots();
    let back = session.snapshot(0, &Moment::Peak, &Filters::default()).await.unwrap();
    let key = |t: &tmq_query::tracemalloc::Trace| (t.domain, t.size, t.traceback.clone());
    let sorted = |mut traces: Vec<_>| {
        traces.sort();
        traces
    };
    assert_eq!(sorted(back.traces.iter().map(key).collect()), sorted(s1.traces.iter().map(key).collect()));
    assert_eq!(back.traceback_limit, 2);
    // A moment of a native recording.
    let dir = scratch.join("native.tmq");
    let made = generate(&dir, &Shape::default());
    let session = Session::open(&[RecordingRef::new(dir)]).unwrap();
    let snapshot = session.snapshot(0, &Moment::End, &Filters::default()).await.unwrap();
    let live = made.allocations.iter().filter(|a| a.free_ns.is_none() && a.domain == 0);
    assert_eq!(snapshot.traces.len(), live.clone().count());
    assert_eq!(snapshot.traces.iter().map(|t| t.size).sum::<i64>(), live.map(|a| a.size).sum::<i64>());
    // Filters in SQL and on the types keep the same.
    let filters = Filters {
        frames: vec![
            FrameFilter::parse(true, true, "*file_1*.c").unwrap(),
            FrameFilter::parse(false, false, "*.py:3").unwrap(),
        ],
        domains: vec![],
    };
    let kept = session.snapshot(0, &Moment::End, &filters).await.unwrap();
    let typed = [
        AnyFilter::from(Filter::new(true, "*file_1*.c").all_frames()),
        AnyFilter::from(Filter::new(false, "*.py").lineno(3)),
    ];
    let typed = snapshot.filter_traces(&typed);
    assert!(!kept.traces.is_empty() && kept.traces.len() < snapshot.traces.len());
    assert_eq!(sorted(kept.traces.iter().map(key).collect()), sorted(typed.traces.iter().map(key).collect()));
}
