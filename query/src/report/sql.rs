//! Reports as SQL text: common table expressions from the templates, and the result on top.

use std::sync::Arc;

use super::counted::{Counted, Source};
use super::keys::{Keys, check, first_flag, leaf};
use super::template::{files, fill, inline, tidy};
use super::{Address, Diff, Filters, GroupBy, Groups, Measure, Mode, Report};
use crate::recording::Opened;
use crate::{Error, Moment};

/// The SQL of a report over the recordings of a session.
pub(crate) fn sql(report: &Report, recordings: &[Arc<Opened>]) -> Result<String, Error> {
    let text = match report {
        Report::Groups(groups) => groups_sql(groups, recordings)?,
        Report::Diff(diff) => diff_sql(diff, recordings)?,
        Report::Address(address) => address_sql(address, recordings)?,
    };
    Ok(tidy(&text))
}

/// The recording at a position, as a part of a report.
pub(crate) fn source(recordings: &[Arc<Opened>], index: usize, n: String, number: usize) -> Result<Source<'_>, Error> {
    let opened = recordings.get(index).ok_or(Error::NoRecording)?;
    Ok(Source::new(opened, recordings.len() == 1, n, number))
}

/// `LIMIT n` or nothing.
fn limit_sql(limit: Option<usize>) -> String {
    limit.map(|n| format!("LIMIT {n}")).unwrap_or_default()
}

fn groups_sql(groups: &Groups, recordings: &[Arc<Opened>]) -> Result<String, Error> {
    let Groups { group_by, mode, filters, limit, .. } = groups;
    check(*group_by, *mode)?;
    let source = source(recordings, groups.recording, String::new(), 0)?;
    let keys = Keys::of(*group_by, false);
    let mut parts = Vec::new();
    if *group_by == GroupBy::Traceback {
        parts.push(lines(&[&source]));
    }
    parts.extend(side(&source, &groups.measure, *group_by, *mode, filters, keys)?);
    let limit = limit_sql(*limit);
    if *group_by == GroupBy::Traceback {
        let texts = texts_of(&source);
        let result = fill(files::result_tracebacks, &[("limit", &limit), ("texts", &texts)]);
        return Ok(format!("WITH\n{},\n{result}", parts.join(",\n")));
    }
    let order = keys.order();
    let mut values = shown(keys);
    values.extend([("order", order.as_str()), ("limit", limit.as_str())]);
    Ok(format!("WITH\n{}\n{}", parts.join(",\n"), fill(files::result_groups, &values)))
}

fn shown(keys: &Keys) -> Vec<(&'static str, &'static str)> {
    let shown = &keys.shown;
    vec![
        ("filename", shown.filename),
        ("lineno", shown.lineno),
        ("function", shown.function),
        ("module", shown.module),
        ("label", shown.label),
        ("traceback", shown.traceback),
    ]
}

/// From the facts of one side to its `groups`.
fn side(
    source: &Source<'_>,
    measure: &Measure,
    group_by: GroupBy,
    mode: Mode,
    filters: &Filters,
    keys: &Keys,
) -> Result<Vec<String>, Error> {
    let counted = Counted::new(source, measure, group_by, filters);
    let mut parts = counted.sql()?;
    let facts = counted.name();
    let by_stack = inline(files::by_stack, &[("facts", &facts)]);
    let base = [
        ("by_stack", by_stack.as_str()),
        ("n", source.n.as_str()),
        ("schema", source.schema.as_str()),
        ("facts", facts.as_str()),
        ("number", source.number.as_str()),
    ];
    let with = |template: &str, more: &[(&str, &str)]| fill(template, &[&base[..], more].concat());
    if group_by == GroupBy::Traceback {
        parts.push(with(files::tracebacks, &[]));
    } else if group_by.is_frame() {
        parts.push(match (mode, first_flag(group_by)) {
            (Mode::MostRecent, _) => with(files::frames_leaf, &[("leaf", leaf(group_by))]),
            (Mode::Cumulative, _) => with(files::frames_every, &[("how", "as often as they occur"), ("which", "TRUE")]),
            (Mode::Inclusive, Some(flag)) => {
                with(files::frames_every, &[("how", "once for each group"), ("which", flag)])
            }
            (Mode::Inclusive, None) => {
                let names: Vec<&str> = keys.keys.iter().map(|(name, _)| *name).collect();
                with(files::frames_once, &[("keys", &names.join(", "))])
            }
        });
    }
    let columns: String = keys.keys.iter().chain(keys.rest).map(|(name, sql)| format!("{sql} AS {name}, ")).collect();
    let columns = fill(&columns, &base);
    let by: Vec<&str> = keys.keys.iter().map(|(_, sql)| *sql).collect();
    let from = fill(keys.from, &base);
    parts.push(with(files::groups, &[("columns", &columns), ("from", &from), ("keys", &by.join(", "))]));
    Ok(parts)
}

/// The numbering of lines over all recordings of a report.
fn lines(sources: &[&Source<'_>]) -> String {
    let frames: Vec<String> =
        sources.iter().map(|s| inline(files::lines_of, &[("number", &s.number), ("schema", &s.schema)])).collect();
    fill(files::lines, &[("frames", &frames.join(" UNION ALL "))])
}

fn texts_of(source: &Source<'_>) -> String {
    inline(files::texts_of, &[("number", &source.number), ("schema", &source.schema)])
}

fn diff_sql(diff: &Diff, recordings: &[Arc<Opened>]) -> Result<String, Error> {
    let Diff { sides, group_by, mode, filters, limit } = diff;
    check(*group_by, *mode)?;
    if sides.len() < 2 {
        return Err(Error::Report("a diff needs two moments: name an old and a new one".to_owned()));
    }
    // Each recording is numbered once, however many of its moments are compared.
    let mut numbered: Vec<usize> = Vec::new();
    let mut sources = Vec::new();
    for (position, side) in sides.iter().enumerate() {
        let number = numbered.iter().position(|r| *r == side.recording).unwrap_or_else(|| {
            numbered.push(side.recording);
            numbered.len() - 1
        });
        sources.push(source(recordings, side.recording, format!("_{}", position + 1), number)?);
    }
    let mut distinct: Vec<&Source<'_>> = Vec::new();
    for source in &sources {
        if !distinct.iter().any(|s| s.number == source.number) {
            distinct.push(source);
        }
    }
    let keys = Keys::of(*group_by, distinct.len() > 1);
    let mut parts = Vec::new();
    if *group_by == GroupBy::Traceback {
        parts.push(lines(&distinct));
    }
    for (source, own) in sources.iter().zip(sides) {
        parts.extend(side(source, &own.measure, *group_by, *mode, filters, keys)?);
    }
    parts.push(changes(&sources, keys));
    let limit = limit_sql(*limit);
    let each = each_side(sides.len(), |name| format!("{name}, "));
    let trend = trend(sides.len());
    if *group_by == GroupBy::Traceback {
        let texts: Vec<String> = distinct.iter().map(|s| texts_of(s)).collect();
        let texts = texts.join(" UNION ALL ");
        let each_min = each_side(sides.len(), |name| format!("min({name}) AS {name}, "));
        let result = fill(
            files::result_diff_tracebacks,
            &[("limit", &limit), ("texts", &texts), ("each", &each), ("each_min", &each_min), ("trend", &trend)],
        );
        return Ok(format!("WITH\n{},\n{result}", parts.join(",\n")));
    }
    let order = keys.order();
    let mut values = shown(keys);
    values.extend([
        ("order", order.as_str()),
        ("limit", limit.as_str()),
        ("each", each.as_str()),
        ("trend", trend.as_str()),
    ]);
    Ok(format!("WITH\n{}\n{}", parts.join(",\n"), fill(files::result_diff, &values)))
}

/// The sides side by side.
fn changes(sources: &[Source<'_>], keys: &Keys) -> String {
    let names = keys.names();
    let sides: Vec<String> = (1..=sources.len())
        .map(|side| {
            let (number, n) = (side.to_string(), format!("_{side}"));
            inline(files::side, &[("number", &number), ("n", &n), ("columns", &names)])
        })
        .collect();
    let own: String = keys
        .keys
        .iter()
        .map(|(name, _)| format!("{name}, "))
        .chain(keys.rest.iter().map(|(name, _)| format!("min({name}) AS {name}, ")))
        .collect();
    let of = |column: &str, side: usize| format!("sum(CASE WHEN side = {side} THEN {column} ELSE 0 END)");
    let last = sources.len();
    let mut sizes = vec![
        format!("{} AS old_size", of("size", 1)),
        format!("{} AS size", of("size", last)),
        format!("{} AS old_count", of("count", 1)),
        format!("{} AS count", of("count", last)),
    ];
    if last > 2 {
        for side in 1..=last {
            sizes.push(format!("{} AS size_{side}", of("size", side)));
            sizes.push(format!("{} AS count_{side}", of("count", side)));
        }
    }
    let by: Vec<&str> = keys.keys.iter().map(|(name, _)| *name).collect();
    fill(
        files::changes,
        &[
            ("sides", &sides.join(" UNION ALL ")),
            ("columns", &own),
            ("sizes", &sizes.join(", ")),
            ("keys", &by.join(", ")),
        ],
    )
}

/// `size_1`, `count_1`, ... where more than two sides are compared, each as `column` writes it.
fn each_side(sides: usize, column: impl Fn(&str) -> String) -> String {
    if sides < 3 {
        return String::new();
    }
    let names = (1..=sides).flat_map(|side| [format!("size_{side}"), format!("count_{side}")]);
    names.map(|name| column(&name)).collect()
}

/// How the sizes go from side to side, where more than two are compared.
fn trend(sides: usize) -> String {
    if sides < 3 {
        return String::new();
    }
    let steps = |op: &str| {
        let steps: Vec<String> = (1..sides).map(|side| format!("size_{side} {op} size_{}", side + 1)).collect();
        steps.join(" AND ")
    };
    format!(
        "CASE WHEN {} THEN 'steady' WHEN {} THEN 'grows' WHEN {} THEN 'shrinks' ELSE 'varies' END AS trend,",
        steps("="),
        steps("<="),
        steps(">=")
    )
}

fn address_sql(report: &Address, recordings: &[Arc<Opened>]) -> Result<String, Error> {
    let source = source(recordings, report.recording, String::new(), 0)?;
    if source.opened.is_imported() {
        return Err(Error::Report(format!("{} has no addresses: tracemalloc does not write them", source.opened.name)));
    }
    // Addresses are stored as signed numbers with the same bits.
    let address = report.address.cast_signed().to_string();
    let moment = report.moment.clone().unwrap_or(Moment::End);
    let at = source.opened.at_ns(&moment)?;
    let (later, freed) = match moment {
        Moment::End => ("FALSE".to_owned(), "b.free_ns IS NOT NULL".to_owned()),
        Moment::Start => ("TRUE".to_owned(), "FALSE".to_owned()),
        _ => (format!("b.alloc_ns > {at}"), format!("b.free_ns <= {at} OR p.end_ns <= {at}")),
    };
    let process = report.pid.map_or_else(
        || "TRUE".to_owned(),
        |pid| format!("process_id IN (SELECT process_id FROM {}processes WHERE pid = {pid})", source.schema),
    );
    Ok(fill(
        files::address,
        &[
            ("schema", &source.schema),
            ("address", &address),
            ("process", &process),
            ("at", &at.to_string()),
            ("later", &later),
            ("freed", &freed),
            ("limit", &limit_sql(report.limit)),
        ],
    ))
}
