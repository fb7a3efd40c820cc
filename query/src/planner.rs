//! Plans SQL of this crate's own (views, relations) over the tables of one recording, without touching a session.
//!
//! DataFusion looks a statement's tables up before it plans; SQL that a view or a relation expands to names tables that
//! the user's statement does not. So expansion has its own, synchronous look-up here, in which a bare name means a table
//! or view of the recording in question.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference, plan_datafusion_err};
use datafusion::config::Dialect;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF, col, lit,
};
use datafusion::sql::planner::SqlToRel;

use crate::recording::Opened;
use crate::tables::RECORDING;
use crate::views::View;

/// Plans this crate's SQL.
#[derive(Debug)]
pub(crate) struct Planner {
    /// Functions and options; its catalog is empty.
    state: SessionState,
    recordings: Vec<Arc<Opened>>,
}

impl Planner {
    /// A planner with the functions of `state` over these recordings.
    pub(crate) fn new(state: SessionState, recordings: Vec<Arc<Opened>>) -> Self {
        Self { state, recordings }
    }

    /// The recordings of the session.
    pub(crate) fn recordings(&self) -> &[Arc<Opened>] {
        &self.recordings
    }

    /// Plans `sql` with bare names meaning tables and views of `recording`.
    pub(crate) fn plan(&self, sql: &str, recording: &Arc<Opened>) -> Result<LogicalPlan> {
        let statement = self.state.sql_to_statement(sql, &Dialect::Generic)?;
        let scope = Scope { planner: self, recording };
        SqlToRel::new(&scope).statement_to_plan(statement)
    }

    /// A view over one recording.
    pub(crate) fn view(&self, view: &'static View, recording: &Arc<Opened>) -> Result<Arc<dyn TableProvider>> {
        let plan = self.plan(view.sql, recording)?;
        Ok(Arc::new(ViewTable::new(plan, Some(view.sql.to_owned()))))
    }

    /// A view over all recordings: the rows of each, with its name in front.
    pub(crate) fn view_of_all(&self, view: &'static View) -> Result<Arc<dyn TableProvider>> {
        let plan = self.union(|recording| self.plan(view.sql, recording))?;
        Ok(Arc::new(ViewTable::new(plan, Some(view.sql.to_owned()))))
    }

    /// The rows that `plan` gives for each recording, with the recording's name in front if there are several.
    pub(crate) fn union(&self, plan: impl Fn(&Arc<Opened>) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
        if let [one] = self.recordings.as_slice() {
            return plan(one);
        }
        let mut all: Option<LogicalPlanBuilder> = None;
        for recording in &self.recordings {
            let part = named(plan(recording)?, &recording.name)?;
            all = Some(match all {
                None => LogicalPlanBuilder::from(part),
                Some(before) => before.union(part)?,
            });
        }
        all.ok_or_else(|| plan_datafusion_err!("no recording is open"))?.build()
    }
}

/// Puts a column with the recording's name in front.
fn named(plan: LogicalPlan, name: &str) -> Result<LogicalPlan> {
    let columns: Vec<_> = plan.schema().columns();
    let plan = LogicalPlanBuilder::from(plan).alias("_rows")?;
    let rest = columns.into_iter().map(|c| col(TableReferenceColumn(c.name)));
    plan.project(std::iter::once(lit(name).alias(RECORDING)).chain(rest))?.build()
}

/// A column of the alias `_rows`, whatever characters its name has.
struct TableReferenceColumn(String);

impl From<TableReferenceColumn> for datafusion::common::Column {
    fn from(column: TableReferenceColumn) -> Self {
        Self::new(Some("_rows"), column.0)
    }
}

/// Look-up for one statement.
struct Scope<'a> {
    planner: &'a Planner,
    recording: &'a Arc<Opened>,
}

impl ContextProvider for Scope<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let recording = match name.schema() {
            None => self.recording,
            Some(schema) => self
                .planner
                .recordings
                .iter()
                .find(|r| r.name == schema)
                .ok_or_else(|| plan_datafusion_err!("no recording named {schema} is open"))?,
        };
        if let Some(table) = recording.tables.get(name.table()) {
            return Ok(provider_as_source(Arc::clone(table) as Arc<dyn TableProvider>));
        }
        match crate::views::view(name.table()) {
            Some(view) => Ok(provider_as_source(self.planner.view(view, recording)?)),
            None => Err(plan_datafusion_err!("table '{name}' not found")),
        }
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: datafusion::arrow::datatypes::SchemaRef,
    ) -> Result<Arc<dyn TableSource>> {
        let table = datafusion::datasource::cte_worktable::CteWorkTable::new(name, schema);
        Ok(provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.planner.state.expr_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.planner.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.planner.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.planner.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.planner.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.planner.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        names(self.planner.state.scalar_functions())
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        names(self.planner.state.higher_order_functions())
    }

    fn udaf_names(&self) -> Vec<String> {
        names(self.planner.state.aggregate_functions())
    }

    fn udwf_names(&self) -> Vec<String> {
        names(self.planner.state.window_functions())
    }
}

fn names<T>(functions: &HashMap<String, T>) -> Vec<String> {
    functions.keys().cloned().collect()
}
