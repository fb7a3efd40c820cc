//! The facts of a report in SQL: which blocks count, summed by stack, and the filters on them.

use std::collections::BTreeMap;

use super::template::{files, fill, identifier, inline, literal};
use super::{Filters, FrameFilter, GroupBy, Measure, Subject, keys};
use crate::recording::Opened;
use crate::{Error, Moment};

/// One recording in a report.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) opened: &'a Opened,
    /// `"name".` in front of tables; empty if only one recording is open.
    pub(crate) schema: String,
    /// Suffix of the relations of this side.
    pub(crate) n: String,
    /// Number of the recording among those compared.
    pub(crate) number: String,
}

impl<'a> Source<'a> {
    pub(crate) fn new(opened: &'a Opened, single: bool, n: String, number: usize) -> Self {
        let schema = if single { String::new() } else { format!("{}.", identifier(&opened.name)) };
        Self { opened, schema, n, number: number.to_string() }
    }

    /// Whether every allocation was recorded, so that there are no errors to add up.
    fn is_exact(&self) -> bool {
        self.opened.metadata.get("sample_interval").is_none_or(|interval| interval == "0")
    }

    /// Which rows of `allocations` are live at a moment; without the condition on their processes at the end.
    pub(crate) fn live(&self, moment: &Moment) -> Result<String, Error> {
        Ok(match moment {
            Moment::Start => "FALSE".to_owned(),
            Moment::End => "free_ns IS NULL".to_owned(),
            moment => {
                let at = self.opened.at_ns(moment)?;
                format!(
                    "alloc_ns <= {at} AND (free_ns IS NULL OR free_ns > {at}) AND process_id IN \
                     (SELECT process_id FROM {}processes WHERE end_ns IS NULL OR end_ns > {at})",
                    self.schema
                )
            }
        })
    }
}

/// The facts and filters of one side.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    source: &'a Source<'a>,
    measure: &'a Measure,
    group_by: GroupBy,
    filters: &'a Filters,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(source: &'a Source<'a>, measure: &'a Measure, group_by: GroupBy, filters: &'a Filters) -> Self {
        Self { source, measure, group_by, filters }
    }

    /// The common table expressions; the last one has the name in [`Counted::name`].
    pub(crate) fn sql(&self) -> Result<Vec<String>, Error> {
        let mut parts = vec![match self.stored() {
            Some((blocks, bytes)) if !self.needs_rows() => self.stored_sql(blocks, bytes),
            _ if *self.measure == Measure::Temporary => {
                return Err(Error::Report(format!(
                    "temporary blocks are known per stack, process and domain only: group them otherwise than by {}",
                    self.group_by
                )));
            }
            _ => self.rows_sql()?,
        }];
        if self.filters_frames() {
            parts.push(self.kept_sql());
        }
        Ok(parts)
    }

    /// Name of the relation with the facts that count.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", if self.filters_frames() { "kept" } else { "counted" }, self.source.n)
    }

    /// The columns of `stack_stats` that answer the measure.
    fn stored(&self) -> Option<(&'static str, &'static str)> {
        match self.measure {
            Measure::Live(Moment::Peak) => Some(("peak_blocks", "peak_bytes")),
            Measure::Live(Moment::End) => Some(("live_blocks", "live_bytes")),
            // Nothing is live at the start, whatever the columns.
            Measure::Live(Moment::Start) => Some(("live_blocks", "live_bytes")),
            Measure::Live(_) => None,
            Measure::Allocated => Some(("allocated_blocks", "allocated_bytes")),
            Measure::Temporary => Some(("temporary_blocks", "temporary_bytes")),
        }
    }

    fn needs_rows(&self) -> bool {
        matches!(self.group_by, GroupBy::Thread | GroupBy::Kind | GroupBy::Size)
    }

    fn filters_frames(&self) -> bool {
        !self.filters.frames.is_empty()
    }

    fn stored_sql(&self, blocks: &str, bytes: &str) -> String {
        let mut conditions = self.domains();
        conditions.push(if *self.measure == Measure::Live(Moment::Start) {
            "FALSE".to_owned()
        } else {
            format!("{blocks} > 0")
        });
        // Of the variance of all allocations, a part of the stack's blocks has its part.
        let variance = |all: &str, part: &str| {
            if self.source.is_exact() {
                return "0.0".to_owned();
            }
            format!("sum(CASE WHEN {all} > 0 THEN {all}_variance * {part} / {all} ELSE 0.0 END)")
        };
        self.fill_counted(
            files::counted_stored,
            &conditions,
            &[
                ("blocks", blocks),
                ("bytes", bytes),
                ("blocks_variance", &variance("allocated_blocks", blocks)),
                ("bytes_variance", &variance("allocated_bytes", bytes)),
            ],
        )
    }

    fn rows_sql(&self) -> Result<String, Error> {
        let mut conditions = self.domains();
        match self.measure {
            Measure::Live(moment) => conditions.push(self.source.live(moment)?),
            Measure::Allocated | Measure::Temporary => {}
        }
        if conditions.is_empty() {
            conditions.push("TRUE".to_owned());
        }
        let exact = self.source.is_exact();
        let (blocks, bytes) =
            ("sum(weight * (weight - 1))", "sum(CAST(size AS DOUBLE) * size * weight * (weight - 1))");
        Ok(self.fill_counted(
            files::counted_rows,
            &conditions,
            &[
                ("blocks_variance", if exact { "0.0" } else { blocks }),
                ("bytes_variance", if exact { "0.0" } else { bytes }),
            ],
        ))
    }

    fn fill_counted(&self, template: &str, conditions: &[String], more: &[(&str, &str)]) -> String {
        let columns = self.columns();
        let declared: String = columns.iter().map(|(name, sql)| format!("{sql} AS {name}, ")).collect();
        let group: Vec<&str> = columns.iter().map(|(_, sql)| *sql).collect();
        let what = what(self.measure);
        let condition = conditions.join(" AND ");
        let group = group.join(", ");
        let mut values = vec![
            ("n", self.source.n.as_str()),
            ("schema", self.source.schema.as_str()),
            ("what", what.as_str()),
            ("columns", declared.as_str()),
            ("where", condition.as_str()),
            ("group", group.as_str()),
        ];
        values.extend(more);
        fill(template, &values)
    }

    /// What the facts are grouped by.
    fn columns(&self) -> Vec<(&'static str, &'static str)> {
        const UP_TO: &str =
            "CASE WHEN size <= 1 THEN size ELSE CAST(power(2.0, ceil(log2(CAST(size AS DOUBLE)))) AS BIGINT) END";
        let mut columns = Vec::new();
        if self.filters_frames() || self.group_by.is_frame() || self.group_by == GroupBy::Traceback {
            columns.push(("stack_id", "stack_id"));
        }
        match self.group_by {
            GroupBy::Thread => columns.push(("thread_id", "thread_id")),
            GroupBy::Process => columns.push(("process_id", "process_id")),
            GroupBy::Kind => columns.push(("kind", "kind")),
            GroupBy::Size => columns.push(("up_to", UP_TO)),
            _ => {}
        }
        if self.group_by == GroupBy::Domain || self.keeps_by_domain() || self.filters_frames_by_domain() {
            columns.push(("domain", "domain"));
        }
        columns
    }

    /// Whether inclusive filters on domains and on frames meet, of which either may match.
    fn keeps_by_domain(&self) -> bool {
        self.inclusive_domains().next().is_some() && self.filters.frames.iter().any(|f| f.inclusive)
    }

    /// Whether a filter on frames matches in its domain only.
    fn filters_frames_by_domain(&self) -> bool {
        self.filters.frames.iter().any(|f| f.domain.is_some())
    }

    /// Whether an inclusive filter says which domains count, so that they are not the heap alone.
    fn names_domains(&self) -> bool {
        self.inclusive_domains().next().is_some()
            || self.filters.frames.iter().any(|f| f.inclusive && f.domain.is_some())
    }

    fn inclusive_domains(&self) -> impl Iterator<Item = i32> {
        self.filters.domains.iter().filter(|d| d.inclusive).map(|d| d.domain)
    }

    /// Conditions on the domain of a fact.
    fn domains(&self) -> Vec<String> {
        let list = |domains: Vec<i32>| domains.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut conditions = Vec::new();
        let asked: Vec<i32> = self.inclusive_domains().collect();
        if !self.names_domains() && self.group_by != GroupBy::Domain && !self.source.opened.is_imported() {
            conditions.push("domain = 0".to_owned());
        } else if !asked.is_empty() && !self.keeps_by_domain() {
            conditions.push(format!("domain IN ({})", list(asked)));
        }
        let unwanted: Vec<i32> = self.filters.domains.iter().filter(|d| !d.inclusive).map(|d| d.domain).collect();
        if !unwanted.is_empty() {
            conditions.push(format!("domain NOT IN ({})", list(unwanted)));
        }
        conditions
    }

    fn kept_sql(&self) -> String {
        let names: Vec<&str> = self.columns().into_iter().map(|(name, _)| name).collect();
        let columns = format!("{}, blocks, bytes, blocks_variance, bytes_variance", names.join(", "));
        let condition = self.kept().join(" AND ");
        fill(files::kept, &[("n", &self.source.n), ("columns", &columns), ("where", &condition)])
    }

    /// Which rows of `allocations` are live and kept; only of live blocks.
    pub(crate) fn blocks(&self) -> Result<String, Error> {
        let mut conditions = self.domains();
        if let Measure::Live(moment) = self.measure {
            conditions.push(self.source.live(moment)?);
        }
        if self.filters_frames() {
            conditions.extend(self.kept());
        }
        Ok(conditions.join(" AND "))
    }

    /// The conditions of the filters on frames on a fact.
    fn kept(&self) -> Vec<String> {
        let (inclusive, exclusive): (Vec<_>, Vec<_>) = self.filters.frames.iter().partition(|f| f.inclusive);
        let mut conditions = Vec::new();
        let mut any: Vec<String> = Vec::new();
        if self.keeps_by_domain() {
            let domains: Vec<String> = self.inclusive_domains().map(|d| d.to_string()).collect();
            any.push(format!("domain IN ({})", domains.join(", ")));
        }
        for (domain, own) in by_domain(&inclusive) {
            any.extend(self.stacks(&own).iter().map(|stacks| format!("{} IN ({stacks})", stack_in(domain))));
        }
        if !any.is_empty() {
            conditions.push(format!("({})", any.join(" OR ")));
        }
        for (domain, own) in by_domain(&exclusive) {
            let stacks = self.stacks(&own);
            conditions.extend(stacks.iter().map(|stacks| format!("{} NOT IN ({stacks})", stack_in(domain))));
        }
        conditions
    }

    /// Queries for the stacks that any of these filters matches: one for those that look at one frame, and one for those
    /// that look at any. (As a union they could not stand within an OR: the optimizer fails on it.)
    fn stacks(&self, filters: &[&FrameFilter]) -> Vec<String> {
        let mut queries = Vec::new();
        for (any_frame, template) in [(false, files::stacks_by_leaf), (true, files::stacks_by_any)] {
            let conditions: Vec<String> =
                filters.iter().filter(|f| f.any_frame == any_frame).map(|f| condition(f)).collect();
            if conditions.is_empty() {
                continue;
            }
            let condition = conditions.join(" OR ");
            let schema = self.source.schema.as_str();
            let frames = inline(files::frames_matching, &[("schema", schema), ("condition", &condition)]);
            let leaf = keys::leaf(self.group_by);
            queries.push(inline(template, &[("schema", schema), ("leaf", leaf), ("frames", &frames)]));
        }
        queries
    }
}

/// The filters apart by the domain in which they match.
fn by_domain<'f>(filters: &[&'f FrameFilter]) -> BTreeMap<Option<i32>, Vec<&'f FrameFilter>> {
    let mut apart: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for filter in filters {
        apart.entry(filter.domain).or_default().push(*filter);
    }
    apart
}

/// The stack of a fact; of one in another domain no stack. (`domain = 1 AND stack_id IN (...)` means the same, but within an
/// OR the optimizer multiplies the subqueries.)
fn stack_in(domain: Option<i32>) -> String {
    domain.map_or_else(
        || "stack_id".to_owned(),
        |domain| format!("CASE WHEN domain = {domain} THEN stack_id ELSE -1 END"),
    )
}

/// A filter as a condition on `frames_named`.
fn condition(filter: &FrameFilter) -> String {
    let pattern = literal(&filter.pattern);
    match filter.subject {
        Subject::File => match filter.line {
            None => format!("filename_match(filename, {pattern})"),
            Some(line) => format!("(filename_match(filename, {pattern}) AND lineno = {line})"),
        },
        Subject::Function => format!("fnmatch(function, {pattern})"),
        Subject::Module => format!("(fnmatch(module, {pattern}) OR fnmatch(module_path, {pattern}))"),
    }
}

/// A measure in words.
fn what(measure: &Measure) -> String {
    match measure {
        Measure::Live(moment) => format!("blocks live at {moment}").replace('\n', " "),
        Measure::Allocated => "all allocations".to_owned(),
        Measure::Temporary => "blocks freed before their thread allocated again".to_owned(),
    }
}
