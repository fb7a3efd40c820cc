//! Opening recordings and running SQL over them.

use tmq_query::{Error, RecordingRef, Session, SessionOptions};

use crate::support::{Scratch, Shape, empty_session, generate, rows, session_of};

#[tokio::test]
async fn tables_have_their_rows() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let count = made.allocations.len().to_string();
    assert_eq!(rows(&session, "SELECT count(*) FROM allocations").await, [[count.clone()]]);
    assert_eq!(rows(&session, "SELECT count(*) FROM app.allocations").await, [[count]]);
    let sizes: i64 = made.allocations.iter().filter(|a| a.free_ns.is_none()).map(|a| a.size).sum();
    let sql = "SELECT sum(size) FROM allocations WHERE free_ns IS NULL";
    assert_eq!(rows(&session, sql).await, [[sizes.to_string()]]);
}

#[tokio::test]
async fn several_recordings_are_one_data_set() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.join("a.tmq"), scratch.join("b c.tmq"));
    generate(&a, &Shape { allocations: 100, ..Shape::default() });
    generate(&b, &Shape { allocations: 50, seed: 2, ..Shape::default() });
    let session = Session::open(&[RecordingRef::new(a), RecordingRef::new(b)]).unwrap();
    let sql = "SELECT recording, count(*) FROM allocations GROUP BY recording ORDER BY recording";
    assert_eq!(rows(&session, sql).await, [["a", "100"], ["b c", "50"]]);
    let sql = "SELECT count(*) FROM allocations WHERE recording = 'b c'";
    assert_eq!(rows(&session, sql).await, [["50"]]);
    assert_eq!(rows(&session, "SELECT count(*) FROM \"b c\".allocations").await, [["50"]]);
    let each = rows(&session, "SELECT recording, sum(blocks) FROM at_peak GROUP BY recording ORDER BY recording").await;
    let own = rows(&session, "SELECT sum(blocks) FROM \"b c\".at_peak").await;
    assert_eq!(each[1][1], own[0][0]);
}

#[tokio::test]
async fn a_recording_without_allocations_answers() {
    let (_scratch, session) = empty_session();
    assert_eq!(rows(&session, "SELECT count(*), sum(size) FROM allocations").await, [["0", "NULL"]]);
    assert!(rows(&session, "SELECT * FROM stacks").await.is_empty());
    let info = session.info(0).unwrap();
    assert_eq!((info.allocations, info.peak_bytes, info.duration_ns), (0, 0, 1_000_000));
}

#[tokio::test]
async fn queries_cannot_write_unless_allowed() {
    let (scratch, _, session) = session_of(&Shape { allocations: 10, ..Shape::default() });
    let out = scratch.join("out.parquet");
    let copy = format!("COPY (SELECT 1) TO '{}'", out.display());
    for sql in ["CREATE VIEW v AS SELECT 1", "SET datafusion.execution.batch_size = 1", copy.as_str()] {
        let error = session.sql(sql).await.unwrap_err();
        assert!(matches!(error, Error::ReadOnly(_)), "{error}");
    }
    assert!(!out.exists());
    let options = SessionOptions { allow_write: true, ..SessionOptions::default() };
    let session = Session::open_with(session.recordings(), &options).unwrap();
    session.sql("CREATE VIEW v AS SELECT count(*) AS n FROM allocations").await.unwrap();
    assert_eq!(rows(&session, "SELECT n FROM v").await, [["10"]]);
    assert!(session.sql("CREATE VIEW peak AS SELECT 1").await.is_err());
}

#[tokio::test]
async fn info_adds_up() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let info = session.info(0).unwrap();
    let heap: Vec<_> = made.allocations.iter().filter(|a| a.domain == 0).collect();
    assert_eq!(info.allocations, heap.len() as i64);
    assert_eq!(info.bytes_allocated, heap.iter().map(|a| a.size).sum::<i64>());
    assert_eq!(info.frees, heap.iter().filter(|a| a.free_ns.is_some()).count() as i64);
    assert_eq!(info.peak_ns, made.peak_ns);
    assert_eq!((info.processes, info.lost_events, info.sampling_interval), (2, 0, 0));
    assert_eq!(info.process_list[1].argv, ["app", "--part=1"]);
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(json["peak_bytes"], info.peak_bytes);
}

#[test]
fn bad_names_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.join("app.tmq");
    generate(&dir, &Shape { allocations: 10, ..Shape::default() });
    let twice = [RecordingRef::new(&dir), RecordingRef::new(&dir)];
    assert!(matches!(Session::open(&twice), Err(Error::DuplicateName { .. })));
    let reserved = RecordingRef { alias: Some("public".to_owned()), ..RecordingRef::new(&dir) };
    assert!(matches!(Session::open(&[reserved]), Err(Error::DuplicateName { .. })));
    assert!(matches!(Session::open(&[]), Err(Error::NoRecording)));
    assert!(matches!(Session::open(&[RecordingRef::new("nowhere.tmq")]), Err(Error::Store(_))));
}
