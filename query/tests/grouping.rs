//! Groups of small keys: the same sums as DataFusion's own operator gives.

use tmq_query::{Session, SessionOptions};

use crate::support::{Shape, rows, session_of};

/// What is summed; a filter and every kind of argument among it.
const SUMS: &str = "count(*), sum(size), min(alloc_ns), max(alloc_ns), count(free_ns), avg(size), \
                    count(*) FILTER (WHERE size > 100)";
const CLASS: &str = "CASE WHEN free_ns IS NULL THEN 'kept' WHEN free_ns - alloc_ns < 1000 THEN 'short' \
                     WHEN size > 64 AND NOT domain = 1 THEN 'kept' END";

async fn is_replaced(session: &Session, sql: &str) -> bool {
    rows(session, &format!("EXPLAIN {sql}")).await.concat().join(" ").contains("SmallKeys")
}

#[tokio::test]
async fn sums_do_not_depend_on_the_operator() {
    let (_scratch, _, session) = session_of(&Shape { allocations: 30_000, ..Shape::default() });
    let options = SessionOptions { threads: Some(2), ..SessionOptions::default() };
    let session = Session::open_with(session.recordings(), &options).unwrap();
    let keys = ["stack_id", "thread_id", "free_thread_id", "kind", "domain", CLASS];
    for (key, condition) in keys.iter().flat_map(|key| [(key, "TRUE"), (key, "size > 1000000000"), (key, "size < 99")])
    {
        let from = format!("FROM allocations WHERE {condition}");
        let small = format!("SELECT {key} AS key, {SUMS} {from} GROUP BY 1 ORDER BY 1");
        // A second key, which has one value, takes it from the operator.
        let other = format!(
            "SELECT key, {SUMS} FROM (SELECT *, {key} AS key, abs(weight) * 0 AS one {from}) GROUP BY key, one ORDER BY key"
        );
        assert!(condition != "TRUE" || is_replaced(&session, &small).await, "{small}");
        assert!(!is_replaced(&session, &other).await, "{other}");
        assert_eq!(rows(&session, &small).await, rows(&session, &other).await, "{small}");
    }
}

#[tokio::test]
async fn what_may_fail_is_evaluated_only_where_it_is_reached() {
    let (_scratch, _, session) = session_of(&Shape { allocations: 1000, ..Shape::default() });
    let sql = "SELECT CASE WHEN size >= 0 THEN 'all' WHEN 1 / (size - size) > 0 THEN 'never' END, count(*) \
               FROM allocations GROUP BY 1";
    assert!(!is_replaced(&session, sql).await);
    assert_eq!(rows(&session, sql).await, [["all", "1000"]]);
}

#[tokio::test]
async fn several_recordings_are_grouped_together() {
    let (_scratch, made, session) = session_of(&Shape { allocations: 2000, ..Shape::default() });
    let mut again = session.recordings()[0].clone();
    again.alias = Some("again".to_owned());
    let both = Session::open(&[session.recordings()[0].clone(), again]).unwrap();
    let counts = rows(&both, "SELECT kind, count(*) FROM allocations GROUP BY kind").await;
    let sum: usize = counts.iter().map(|row| row[1].parse::<usize>().unwrap()).sum();
    assert_eq!(sum, 2 * made.allocations.len());
}
