//! tracemalloc's operations as relations with named arguments: `FROM statistics(group_by => 'lineno', at => 'peak')`.
//!
//! A call becomes the SQL of the report that it names and is planned in place, so that the rest of the query is optimized
//! together with it. With several recordings open and none named, the rows of each come with its name in front.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, TableFactor, TableFunctionArgs, UnaryOperator, Value,
};

use crate::planner::Planner;
use crate::recording::Opened;
use crate::report::{
    self, Address, Diff, DomainFilter, Filters, FrameFilter, GroupBy, Groups, Measure, Mode, Report, Side,
};
use crate::{Error, Moment};

/// Every relation with its arguments, for help and completion.
pub static RELATIONS: &[(&str, &str)] = &[
    ("snapshot(at => 'peak', recording => NAME)", "The rows of `allocations` that are live at a moment, with age_ns"),
    (
        "statistics(group_by => 'site', at => 'peak', cumulative => false, inclusive => false, include => PATTERN, \
         exclude => PATTERN, include_any => PATTERN, exclude_any => PATTERN, domain => N, not_domain => N, \
         measure => 'live', recording => NAME)",
        "Groups of blocks, largest first, as `tmq top` has them; measure is live, allocated or temporary; filters may be \
         repeated",
    ),
    (
        "compare_to(old => '[NAME]@MOMENT', new => '[NAME]@MOMENT', group_by => 'site', cumulative => false, \
         inclusive => false, include => PATTERN, ...)",
        "How groups changed, largest change first, as `tmq diff` has it",
    ),
    ("traceback(stack_id => N, recording => NAME)", "The frames of one stack, most recent first"),
    (
        "address(address => '0x...', at => 'end', pid => N, recording => NAME)",
        "Every block that contained an address, in order of time, as `tmq addr` has it: state is freed, live or later \
         at the moment",
    ),
    (
        "traced_memory(at => 'end', since => 'start', recording => NAME)",
        "As tracemalloc's get_traced_memory: bytes live at a moment (current), the most that were live at once since \
         another (peak), and when (peak_ns); since does what reset_peak does",
    ),
];

/// Arguments that may be given several times: the filters.
const REPEATABLE: [&str; 6] = ["include", "exclude", "include_any", "exclude_any", "domain", "not_domain"];

/// Plans the relations.
#[derive(Debug)]
pub(crate) struct Relations {
    planner: Arc<Planner>,
}

impl Relations {
    pub(crate) fn new(planner: Arc<Planner>) -> Self {
        Self { planner }
    }

    fn plan(&self, name: &str, mut arguments: Arguments) -> Result<Option<LogicalPlan>> {
        let plan = match name {
            "snapshot" => self.snapshot(&mut arguments),
            "statistics" => self.statistics(&mut arguments),
            "compare_to" => self.compare_to(&mut arguments),
            "traceback" => self.traceback(&mut arguments),
            "address" => self.address(&mut arguments),
            "traced_memory" => self.traced_memory(&mut arguments),
            _ => return Ok(None),
        }?;
        arguments.finish()?;
        Ok(Some(plan))
    }

    /// Plans SQL for the recording that the arguments name, or for each.
    fn each(&self, name: Option<String>, sql: impl Fn(usize) -> Result<String, Error>) -> Result<LogicalPlan> {
        let recordings = self.planner.recordings();
        let plan = |recording: usize| {
            let text = sql(recording).map_err(plan_error)?;
            self.planner.plan(&text, &recordings[recording])
        };
        match name {
            Some(name) => plan(find(recordings, &name).map_err(plan_error)?),
            None => {
                self.planner.union(|opened| plan(recordings.iter().position(|r| r.name == opened.name).unwrap_or(0)))
            }
        }
    }

    fn snapshot(&self, arguments: &mut Arguments) -> Result<LogicalPlan> {
        let moment = arguments.moment("at")?.unwrap_or(Moment::Peak);
        let recording = arguments.text("recording")?;
        self.each(recording, |index| report::live_rows_sql(self.planner.recordings(), index, &moment))
    }

    fn traceback(&self, arguments: &mut Arguments) -> Result<LogicalPlan> {
        let Some(stack) = arguments.integer("stack_id")? else {
            return plan_err!("traceback needs a stack: traceback(stack_id => N)");
        };
        let recording = arguments.text("recording")?;
        self.each(recording, |index| report::frames_sql(self.planner.recordings(), index, stack))
    }

    fn address(&self, arguments: &mut Arguments) -> Result<LogicalPlan> {
        let Some(address) = arguments.address("address")? else {
            return plan_err!("address needs an address: address('0x55d0c8a0f2a0')");
        };
        let (moment, pid) = (arguments.moment("at")?, arguments.integer("pid")?);
        let recording = arguments.text("recording")?;
        self.each(recording, |recording| {
            let report = Address { recording, address, moment: moment.clone(), pid, limit: None };
            report::sql(&Report::Address(report), self.planner.recordings())
        })
    }

    fn traced_memory(&self, arguments: &mut Arguments) -> Result<LogicalPlan> {
        let moment = arguments.moment("at")?.unwrap_or(Moment::End);
        let since = arguments.moment("since")?.unwrap_or(Moment::Start);
        let recording = arguments.text("recording")?;
        self.each(recording, |index| report::traced_memory_sql(self.planner.recordings(), index, &moment, &since))
    }

    fn statistics(&self, arguments: &mut Arguments) -> Result<LogicalPlan> {
        let (group_by, mode, filters) = arguments.grouping()?;
        let moment = arguments.moment("at")?.unwrap_or(Moment::Peak);
        let measure = match arguments.text("measure")?.as_deref() {
            None | Some("live") => Measure::Live(moment),
            Some("allocated") => Measure::Allocated,
            Some("temporary") => Measure::Temporary,
            Some(other) => return plan_err!("unknown measure '{other}': use live, allocated or temporary"),
        };
        let recording = arguments.text("recording")?;
        self.each(recording, |recording| {
            let (measure, filters) = (measure.clone(), filters.clone());
            let groups = Groups { recording, measure, group_by, mode, filters, limit: None };
            report::sql(&Report::Groups(groups), self.planner.recordings())
        })
    }

    fn compare_to(&self, arguments: &mut Arguments) -> Result<LogicalPlan> {
        let (group_by, mode, filters) = arguments.grouping()?;
        let recordings = self.planner.recordings();
        let mut side = |name| {
            let Some(text) = arguments.text(name)? else {
                return plan_err!("compare_to needs two moments: compare_to(old => '@peak', new => '@end')");
            };
            side(recordings, &text).map_err(plan_error)
        };
        let sides = vec![side("old")?, side("new")?];
        let diff = Report::Diff(Diff { sides, group_by, mode, filters, limit: None });
        self.planner.plan(&report::sql(&diff, recordings).map_err(plan_error)?, &recordings[0])
    }
}

/// `NAME@MOMENT`, `@MOMENT`, `MOMENT` of the first recording, or `NAME` at its end.
fn side(recordings: &[Arc<Opened>], text: &str) -> Result<Side, Error> {
    if let Some(recording) = recordings.iter().position(|r| r.name == text) {
        return Ok(Side { recording, measure: Measure::Live(Moment::End) });
    }
    let (name, moment) = text.rsplit_once('@').unwrap_or(("", text));
    let recording = if name.is_empty() { 0 } else { find(recordings, name)? };
    Ok(Side { recording, measure: Measure::Live(moment.parse()?) })
}

fn find(recordings: &[Arc<Opened>], name: &str) -> Result<usize, Error> {
    recordings.iter().position(|r| r.name == name).ok_or_else(|| Error::UnknownRecording {
        name: name.to_owned(),
        open: recordings.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

fn plan_error(error: Error) -> DataFusionError {
    match error {
        Error::Query(error) => error,
        error => DataFusionError::Plan(error.to_string()),
    }
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table { name, alias, args, sample, .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        if sample.is_some() {
            return plan_err!("TABLESAMPLE is not supported: filter on a column instead, e.g. WHERE random() < 0.01");
        }
        let (Some(TableFunctionArgs { args, .. }), [part]) = (args, name.0.as_slice()) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(ident) = part.as_ident() else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let name = context.normalize_ident(ident.clone());
        let Some(arguments) = Arguments::of(&name, args, context)? else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        match self.plan(&name, arguments)? {
            Some(plan) => {
                let plan = LogicalPlanBuilder::from(plan).alias(name)?.build()?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
            }
            None => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

/// The arguments of one call, by name.
#[derive(Debug)]
struct Arguments {
    relation: String,
    given: Vec<(String, Literal)>,
}

/// An argument's value.
#[derive(Debug)]
enum Literal {
    Text(String),
    Number(String),
    Boolean(bool),
}

impl Arguments {
    /// The arguments, if the relation is one of ours. Those without a name are the first ones of its list.
    fn of(relation: &str, args: &[FunctionArg], context: &dyn RelationPlannerContext) -> Result<Option<Self>> {
        let positions: &[&str] = match relation {
            "snapshot" => &["at", "recording"],
            "statistics" => &["group_by", "at"],
            "compare_to" => &["old", "new", "group_by"],
            "traceback" => &["stack_id", "recording"],
            "address" => &["address", "at", "recording"],
            "traced_memory" => &["at", "since", "recording"],
            _ => return Ok(None),
        };
        let mut given = Vec::new();
        for (position, arg) in args.iter().enumerate() {
            let (name, value) = match arg {
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    (context.normalize_ident(name.clone()), value)
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => match positions.get(position) {
                    Some(name) => ((*name).to_owned(), value),
                    None => return plan_err!("{relation}: name the arguments, e.g. {} => ...", positions[0]),
                },
                _ => return plan_err!("{relation}: {arg} is not an argument; write name => value"),
            };
            if !REPEATABLE.contains(&name.as_str()) && given.iter().any(|(n, _)| *n == name) {
                return plan_err!("{relation}: {name} is given twice");
            }
            given.push((name, literal(relation, value)?));
        }
        Ok(Some(Self { relation: relation.to_owned(), given }))
    }

    fn take(&mut self, name: &str) -> Option<Literal> {
        let at = self.given.iter().position(|(n, _)| n == name)?;
        Some(self.given.swap_remove(at).1)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Literal::Text(text)) => Ok(Some(text)),
            Some(_) => plan_err!("{}: {name} is a text: {name} => '...'", self.relation),
        }
    }

    fn boolean(&mut self, name: &str) -> Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Literal::Boolean(value)) => Ok(value),
            Some(_) => plan_err!("{}: {name} is true or false", self.relation),
        }
    }

    fn integer(&mut self, name: &str) -> Result<Option<i32>> {
        match self.take(name) {
            None => Ok(None),
            Some(Literal::Number(text)) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => plan_err!("{}: {name} is a whole number, {text} is not", self.relation),
            },
            Some(_) => plan_err!("{}: {name} is a number", self.relation),
        }
    }

    /// `'0x1f'`, `'31'` or `31`.
    fn address(&mut self, name: &str) -> Result<Option<u64>> {
        let text = match self.take(name) {
            None => return Ok(None),
            Some(Literal::Text(text) | Literal::Number(text)) => text,
            Some(Literal::Boolean(_)) => return plan_err!("{}: {name} is an address: '0x...'", self.relation),
        };
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        match parsed {
            Ok(address) => Ok(Some(address)),
            Err(_) => plan_err!("{}: {name} is an address such as '0x55d0c8a0f2a0', {text} is not", self.relation),
        }
    }

    fn moment(&mut self, name: &str) -> Result<Option<Moment>> {
        let text = self.text(name)?;
        text.map(|text| text.parse().map_err(plan_error)).transpose()
    }

    /// What `statistics` and `compare_to` have in common.
    fn grouping(&mut self) -> Result<(GroupBy, Mode, Filters)> {
        let group_by = match self.text("group_by")? {
            Some(text) => text.parse().map_err(plan_error)?,
            None => GroupBy::Site,
        };
        let mode = match (self.boolean("cumulative")?, self.boolean("inclusive")?) {
            (false, false) => Mode::MostRecent,
            (true, false) => Mode::Cumulative,
            (false, true) => Mode::Inclusive,
            (true, true) => return plan_err!("{}: choose cumulative or inclusive, not both", self.relation),
        };
        let mut filters = Filters::default();
        for (name, inclusive, any_frame) in [
            ("include", true, false),
            ("exclude", false, false),
            ("include_any", true, true),
            ("exclude_any", false, true),
        ] {
            while let Some(text) = self.text(name)? {
                filters.frames.push(FrameFilter::parse(inclusive, any_frame, &text).map_err(plan_error)?);
            }
        }
        for (name, inclusive) in [("domain", true), ("not_domain", false)] {
            while let Some(domain) = self.integer(name)? {
                filters.domains.push(DomainFilter { inclusive, domain });
            }
        }
        Ok((group_by, mode, filters))
    }

    fn finish(self) -> Result<()> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => {
                let known = RELATIONS.iter().find(|(text, _)| text.starts_with(&self.relation));
                plan_err!("{} has no argument {name}: {}", self.relation, known.map_or("", |k| k.0))
            }
        }
    }
}

fn literal(relation: &str, value: &Expr) -> Result<Literal> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Ok(Literal::Text(text.clone())),
            Value::Number(text, _) => Ok(Literal::Number(text.clone())),
            Value::Boolean(value) => Ok(Literal::Boolean(*value)),
            other => plan_err!("{relation}: {other} cannot be an argument; use a text, a number, true or false"),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(relation, expr)? {
            Literal::Number(text) => Ok(Literal::Number(format!("-{text}"))),
            _ => plan_err!("{relation}: {value} cannot be an argument"),
        },
        other => plan_err!("{relation}: {other} cannot be an argument; use a text, a number, true or false"),
    }
}
