//! Every view is documented, planned and answers, also about nothing.

use tmq_query::views::VIEWS;

use crate::support::{Shape, empty_session, rows, session_of};

#[tokio::test]
async fn comments_are_the_planned_columns() {
    let (_scratch, session) = empty_session();
    for view in VIEWS {
        let planned = rows(&session, &format!("DESCRIBE {}", view.name)).await;
        let planned: Vec<_> = planned.iter().map(|row| row[0].as_str()).collect();
        let documented = view.columns();
        let names: Vec<_> = documented.iter().map(|(name, _)| *name).collect();
        assert_eq!(planned, names, "{}", view.name);
        assert!(documented.iter().all(|(_, meaning)| meaning.ends_with('.')), "{}", view.name);
        assert!(view.sql.starts_with(&format!("-- {}: ", view.name)), "{}", view.name);
        assert!(view.doc().contains("Grain:"), "{}", view.name);
        assert!(!view.sql.contains("SELECT *"), "{}", view.name);
        // What the recorder says of itself does not depend on allocations.
        let answers = rows(&session, &format!("SELECT * FROM {}", view.name)).await;
        assert_eq!(answers.len(), usize::from(view.name == "tracer"), "{}", view.name);
    }
}

#[tokio::test]
async fn views_answer() {
    let (_scratch, _, session) = session_of(&Shape::default());
    for view in VIEWS {
        assert!(!rows(&session, &format!("SELECT * FROM {}", view.name)).await.is_empty(), "{}", view.name);
    }
}

#[tokio::test]
async fn views_agree_with_each_other() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let live: i64 = made.allocations.iter().filter(|a| a.free_ns.is_none() && a.domain == 0).map(|a| a.size).sum();
    for sql in [
        "SELECT sum(bytes) FROM leaks",
        "SELECT sum(live_bytes) FROM by_thread",
        "SELECT sum(live_bytes) FROM by_size",
        "SELECT sum(live_bytes) FROM by_module",
        "SELECT sum(live_bytes) FROM by_process",
        "SELECT sum(bytes) FROM lifetimes WHERE lifetime = 'never freed'",
        "SELECT CAST(sum(live_bytes) AS BIGINT) FROM stack_totals",
        "SELECT sum(size) FROM allocations_named WHERE free_ns IS NULL AND domain = 0",
    ] {
        assert_eq!(rows(&session, sql).await, [[live.to_string()]], "{sql}");
    }
}
