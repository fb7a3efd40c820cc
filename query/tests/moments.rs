//! Questions about several moments: more than two sides of a comparison, and who had an address then.

use std::collections::BTreeMap;

use tmq_query::report::{Address, Diff, Filters, GroupBy, Groups, Measure, Mode, Report, Side};
use tmq_query::{Moment, Session};

use crate::support::{Shape, rows, session_of, texts};

async fn run(session: &Session, report: &Report) -> Vec<Vec<String>> {
    texts(&session.report(report).await.unwrap().collect().await.unwrap())
}

/// Label → (size, count) at a moment.
async fn groups_at(session: &Session, group_by: GroupBy, measure: Measure) -> BTreeMap<String, (i64, i64)> {
    let report = Report::Groups(Groups { group_by, measure, limit: None, ..Groups::default() });
    let rows = run(session, &report).await;
    rows.iter().map(|r| (r[4].clone(), (r[5].parse().unwrap(), r[6].parse().unwrap()))).collect()
}

fn trend(sizes: &[i64]) -> &'static str {
    let steps = || sizes.windows(2).map(|w| w[1] - w[0]);
    match (steps().all(|s| s >= 0), steps().all(|s| s <= 0)) {
        (true, true) => "steady",
        (true, false) => "grows",
        (false, true) => "shrinks",
        (false, false) => "varies",
    }
}

#[tokio::test]
async fn each_side_has_its_columns_and_all_have_a_trend() {
    let (_scratch, _, session) = session_of(&Shape::default());
    let moments = [Moment::Start, Moment::Share(0.1), Moment::Share(0.3), Moment::Peak];
    let measures = moments.map(Measure::Live);
    let mut trends = std::collections::BTreeSet::new();
    for group_by in [GroupBy::Lineno, GroupBy::Filename, GroupBy::Module] {
        let sides = measures.iter().map(|m| Side { recording: 0, measure: m.clone() }).collect();
        let diff = Diff { sides, group_by, mode: Mode::MostRecent, filters: Filters::default(), limit: None };
        let got = run(&session, &Report::Diff(diff)).await;
        let mut want = Vec::new();
        for measure in &measures {
            want.push(groups_at(&session, group_by, measure.clone()).await);
        }
        for row in &got {
            let of = |side: usize| want[side].get(&row[4]).copied().unwrap_or_default();
            let sizes: Vec<i64> = (0..4).map(|side| row[12 + 2 * side].parse().unwrap()).collect();
            let counts: Vec<i64> = (0..4).map(|side| row[13 + 2 * side].parse().unwrap()).collect();
            assert_eq!(sizes, (0..4).map(|side| of(side).0).collect::<Vec<_>>(), "{row:?}");
            assert_eq!(counts, (0..4).map(|side| of(side).1).collect::<Vec<_>>(), "{row:?}");
            assert_eq!(row[5..7], [sizes[0].to_string(), sizes[3].to_string()]);
            assert_eq!(row[20], trend(&sizes), "{row:?}");
            trends.insert(trend(&sizes));
        }
        assert_eq!(got.len(), want.iter().flat_map(BTreeMap::keys).collect::<std::collections::BTreeSet<_>>().len());
    }
    assert!(trends.contains("varies") && trends.contains("grows"), "{trends:?}");
}

#[tokio::test]
async fn tracebacks_have_their_sides_too() {
    let (_scratch, _, session) = session_of(&Shape::default());
    let sides = [Moment::Start, Moment::Peak, Moment::End];
    let sides = sides.map(|m| Side { recording: 0, measure: Measure::Live(m) }).to_vec();
    let group_by = GroupBy::Traceback;
    let diff = Diff { sides, group_by, mode: Mode::MostRecent, filters: Filters::default(), limit: None };
    let sql = session.report_sql(&Report::Diff(diff)).unwrap();
    let sums = "SELECT CAST(sum(size_1) AS BIGINT), CAST(sum(size_2) AS BIGINT), CAST(sum(count_3) AS BIGINT), \
                CAST(sum(size - size_3) AS BIGINT), count(trend) = count(*) FROM";
    let got = rows(&session, &format!("{sums} ({sql}) AS changes")).await;
    let one = async |sql| rows(&session, sql).await.concat().concat();
    let peak = one("SELECT live_bytes FROM moments WHERE kind = 'peak'").await;
    let end = one("SELECT count(*) FROM snapshot('end') WHERE domain = 0").await;
    assert_eq!(got, [["0".to_owned(), peak, end, "0".to_owned(), "true".to_owned()]]);
}

#[tokio::test]
async fn the_nearest_block_is_the_one_that_is_live() {
    let (_scratch, made, session) = session_of(&Shape::default());
    let mut blocks: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for a in made.allocations.iter().filter(|a| a.process_id == 0 && a.domain == 0 && a.size > 1) {
        blocks.entry(a.address).or_default().push(a);
    }
    let mut asked = 0;
    for a in blocks.values().filter(|b| b.len() > 2).flatten().take(40) {
        let Some(free_ns) = a.free_ns.filter(|free| *free > a.alloc_ns) else { continue };
        let pid = Some(made.processes[0].pid);
        let moment = Some(Moment::At(free_ns - 1));
        let address = a.address as u64 + 1;
        let report = Report::Address(Address { recording: 0, address, moment, pid, limit: Some(1) });
        let got = run(&session, &report).await;
        assert_eq!(got[0][4], "live", "{a:?}");
        asked += 1;
    }
    assert!(asked > 5, "{asked}");
}
