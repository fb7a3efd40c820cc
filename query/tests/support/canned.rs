//! The questions that commands and views answer, as SQL: for timing and for comparison with another engine.
#![allow(dead_code, reason = "shared by tests and examples")]

use tmq_query::report::{Diff, Filters, FrameFilter, GroupBy, Groups, Measure, Mode, Report, Side};
use tmq_query::{Error, Moment, Session};

/// Every canned question with its SQL.
pub fn canned(session: &Session) -> Result<Vec<(String, String)>, Error> {
    let at = || Measure::Live(Moment::Share(0.7));
    let peak = || Measure::Live(Moment::Peak);
    let groups = |group_by, mode, measure| Groups { group_by, mode, measure, ..Groups::default() };
    let any = FrameFilter::parse(true, true, "*file_1*.c")?;
    let filters = Filters { frames: vec![any], domains: vec![] };
    let mut all = Vec::new();
    for (name, groups) in [
        ("top by site", Groups::default()),
        ("top by line", groups(GroupBy::Lineno, Mode::MostRecent, peak())),
        ("top by file", groups(GroupBy::Filename, Mode::MostRecent, peak())),
        ("top by traceback", groups(GroupBy::Traceback, Mode::MostRecent, peak())),
        ("top by module", groups(GroupBy::Module, Mode::MostRecent, peak())),
        ("cumulative by line", groups(GroupBy::Lineno, Mode::Cumulative, peak())),
        ("cumulative by line, all allocations", groups(GroupBy::Lineno, Mode::Cumulative, Measure::Allocated)),
        ("cumulative by line at 70%", groups(GroupBy::Lineno, Mode::Cumulative, at())),
        ("inclusive by site", groups(GroupBy::Site, Mode::Inclusive, peak())),
        ("at 70% by site", groups(GroupBy::Site, Mode::MostRecent, at())),
        ("at 70% by traceback", groups(GroupBy::Traceback, Mode::MostRecent, at())),
        ("allocated by site", groups(GroupBy::Site, Mode::MostRecent, Measure::Allocated)),
        ("allocated by thread", groups(GroupBy::Thread, Mode::MostRecent, Measure::Allocated)),
        ("allocated by size", groups(GroupBy::Size, Mode::MostRecent, Measure::Allocated)),
        ("allocated by kind", groups(GroupBy::Kind, Mode::MostRecent, Measure::Allocated)),
        ("leaks by line", groups(GroupBy::Lineno, Mode::MostRecent, Measure::Live(Moment::End))),
        ("temporary by site", groups(GroupBy::Site, Mode::MostRecent, Measure::Temporary)),
        ("any frame in file_1*", Groups { filters, ..Groups::default() }),
    ] {
        all.push((name.to_owned(), session.report_sql(&Report::Groups(groups))?));
    }
    for (name, group_by) in [("diff by line", GroupBy::Lineno), ("diff by traceback", GroupBy::Traceback)] {
        let sides = vec![Side { recording: 0, measure: at() }, Side { recording: 0, measure: peak() }];
        let mode = Mode::MostRecent;
        let diff = Diff { sides, group_by, mode, filters: Filters::default(), limit: Some(10) };
        all.push((name.to_owned(), session.report_sql(&Report::Diff(diff))?));
    }
    let views = ["at_peak", "by_thread", "by_size", "by_module", "lifetimes", "by_kind", "timeline_readable"];
    all.extend(views.map(|view| (format!("view {view}"), format!("SELECT * FROM {view}"))));
    Ok(all)
}
