//! A session over one or more recordings: the place where SQL is planned and run.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::config::Dialect;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::DFParserBuilder;
use tmq_store::schema::TABLES;

use crate::catalog::{CATALOG, Catalog, PUBLIC, RESERVED};
use crate::grouping::SmallKeys;
use crate::planner::Planner;
use crate::recording::Opened;
use crate::relations::{RELATIONS, Relations};
use crate::report::Report;
use crate::{Error, Info, RecordingRef, Rows, functions, memory, views};

/// How many consumers of memory the message about a full pool names.
const CONSUMERS_IN_MESSAGE: std::num::NonZeroUsize = std::num::NonZeroUsize::new(3).unwrap();

/// Rows that go through a plan at once.
const BATCH_ROWS: usize = 16_384;

/// Limits and permissions of a [`Session`].
///
/// ```
/// use tmq_query::SessionOptions;
///
/// let options = SessionOptions { memory_limit: Some(1 << 30), threads: Some(2), ..SessionOptions::default() };
/// assert!(!options.allow_write);
/// ```
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Bytes that queries may use before they spill to disk; none: half of the memory of the machine or its cgroup.
    pub memory_limit: Option<usize>,
    /// Directory for spilled data; none: the system's directory for temporary files.
    pub spill_dir: Option<PathBuf>,
    /// Whether statements that change or copy something (`COPY`, `CREATE`, `SET`, ...) may run.
    pub allow_write: bool,
    /// Threads that a query uses; none: one per processor.
    pub threads: Option<usize>,
}

/// Recordings opened for questions.
///
/// ```
/// # use tmq_query::tracemalloc::{Frame, Snapshot, Trace, Traceback};
/// # use tmq_query::{RecordingRef, Session};
/// # let dir = std::env::temp_dir().join(format!("tmq-doc-session-{}.tmq", std::process::id()));
/// # let trace = |size, line| Trace { domain: 0, size, traceback: Traceback::new(vec![Frame::new("a.py", line)]) };
/// # Snapshot::new(vec![trace(10, 2), trace(10, 2), trace(400, 9)], 1).write_recording(&dir)?;
/// let session = Session::open(&[RecordingRef::new(&dir)])?;
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(async {
/// let rows = session.sql("SELECT lineno, size FROM statistics('lineno')").await?;
/// assert_eq!(rows.schema().field(1).name(), "size");
/// let batches = rows.collect().await?;
/// assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 2);
/// assert!(session.sql("CREATE TABLE t AS SELECT 1").await.is_err());
/// # Ok::<(), tmq_query::Error>(())
/// # })?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    references: Vec<RecordingRef>,
    planner: Arc<Planner>,
    context: SessionContext,
    allowed: SQLOptions,
}

impl Session {
    /// Opens recordings with default options. Reads a few small files; needs no runtime.
    ///
    /// # Errors
    /// A recording cannot be read, or two have the same name.
    pub fn open(recordings: &[RecordingRef]) -> Result<Self, Error> {
        Self::open_with(recordings, &SessionOptions::default())
    }

    /// Opens recordings.
    ///
    /// # Errors
    /// A recording cannot be read, or two have the same name.
    pub fn open_with(references: &[RecordingRef], options: &SessionOptions) -> Result<Self, Error> {
        if references.is_empty() {
            return Err(Error::NoRecording);
        }
        check_names(references)?;
        let recordings = references.iter().map(|r| Opened::open(r).map(Arc::new)).collect::<Result<Vec<_>, Error>>()?;
        let context = context(options)?;
        // The planner's catalog is empty, or session and planner would keep each other alive.
        let state = SessionStateBuilder::new_from_existing(context.state())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .build();
        let planner = Arc::new(Planner::new(state, recordings));
        context.register_relation_planner(Arc::new(Relations::new(Arc::clone(&planner))))?;
        context.register_catalog(CATALOG, Arc::new(Catalog::new(&planner)?));
        let allowed = SQLOptions::new()
            .with_allow_ddl(options.allow_write)
            .with_allow_dml(options.allow_write)
            .with_allow_statements(options.allow_write);
        Ok(Self { references: references.to_vec(), planner, context, allowed })
    }

    /// The open recordings, in the order given; reports refer to them by position.
    #[must_use]
    pub fn recordings(&self) -> &[RecordingRef] {
        &self.references
    }

    /// Runs one SQL statement. Rows come as they are made; dropping them stops the query.
    ///
    /// # Errors
    /// The statement is wrong or not allowed.
    pub async fn sql(&self, sql: &str) -> Result<Rows, Error> {
        let plan = self.plan(sql).await?;
        let frame = self.context.execute_logical_plan(plan).await?;
        Ok(Rows::new(frame.execute_stream().await?))
    }

    /// Plans one SQL statement without running it: what is wrong with it, in the time of planning alone.
    ///
    /// # Errors
    /// The statement is wrong or not allowed.
    pub async fn check(&self, sql: &str) -> Result<(), Error> {
        let plan = self.plan(sql).await?;
        self.context.state().create_physical_plan(&plan).await?;
        Ok(())
    }

    /// Splits a text into its SQL statements.
    ///
    /// # Errors
    /// The text is not SQL.
    pub fn statements(&self, text: &str) -> Result<Vec<String>, Error> {
        let parsed = DFParserBuilder::new(text).build()?.parse_statements()?;
        Ok(parsed.iter().map(ToString::to_string).collect())
    }

    /// Answers a report, in its order.
    ///
    /// # Errors
    /// The report contradicts itself or the recording.
    pub async fn report(&self, report: &Report) -> Result<Rows, Error> {
        self.sql(&self.report_sql(report)?).await
    }

    /// The SQL behind a report: it runs as it is in [`Session::sql`] and gives the same rows in the same order.
    ///
    /// # Errors
    /// The report contradicts itself or the recording.
    pub fn report_sql(&self, report: &Report) -> Result<String, Error> {
        crate::report::sql(report, self.planner.recordings())
    }

    /// Totals of one recording.
    ///
    /// ```
    /// # use tmq_query::tracemalloc::{Frame, Snapshot, Trace, Traceback};
    /// # use tmq_query::{RecordingRef, Session};
    /// # let dir = std::env::temp_dir().join(format!("tmq-doc-info-{}.tmq", std::process::id()));
    /// # let trace = |size, line| Trace { domain: 0, size, traceback: Traceback::new(vec![Frame::new("a.py", line)]) };
    /// # Snapshot::new(vec![trace(10, 2), trace(10, 2), trace(400, 9)], 1).write_recording(&dir)?;
    /// let info = Session::open(&[RecordingRef::new(&dir)])?.info(0)?;
    /// assert_eq!((info.allocations, info.live_bytes, info.lost_events), (3, 420, 0));
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// It cannot be read.
    pub fn info(&self, recording: usize) -> Result<Info, Error> {
        Info::read(self.opened(recording)?)
    }

    /// Names for completion: tables, views, their columns, functions, relations; sorted, without duplicates.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = BTreeSet::new();
        for table in TABLES {
            names.insert(table.name.to_owned());
            names.extend(table.columns.iter().map(|c| c.name.to_owned()));
        }
        for view in views::VIEWS {
            names.insert(view.name.to_owned());
            names.extend(view.columns().into_iter().map(|(name, _)| name.to_owned()));
        }
        names.extend(RELATIONS.iter().filter_map(|(text, _)| text.split('(').next()).map(str::to_owned));
        let state = self.context.state();
        names.extend(state.scalar_functions().keys().cloned());
        names.extend(state.aggregate_functions().keys().cloned());
        names.extend(state.window_functions().keys().cloned());
        if self.references.len() > 1 {
            names.insert(crate::tables::RECORDING.to_owned());
        }
        names.into_iter().filter(|name| name.starts_with(char::is_alphabetic)).collect()
    }

    pub(crate) fn opened(&self, recording: usize) -> Result<&Arc<Opened>, Error> {
        self.planner.recordings().get(recording).ok_or(Error::NoRecording)
    }

    pub(crate) fn all(&self) -> &[Arc<Opened>] {
        self.planner.recordings()
    }

    async fn plan(&self, sql: &str) -> Result<LogicalPlan, Error> {
        let state = self.context.state();
        if sql.trim().is_empty() {
            return Err(Error::EmptyQuery);
        }
        let statement = state.sql_to_statement(sql, &Dialect::Generic)?;
        let plan = state.statement_to_plan(statement).await?;
        match self.allowed.verify_plan(&plan) {
            Ok(()) => Ok(plan),
            Err(DataFusionError::Plan(reason)) => Err(Error::ReadOnly(reason)),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("recordings", &self.references).finish_non_exhaustive()
    }
}

fn check_names(references: &[RecordingRef]) -> Result<(), Error> {
    let mut seen = HashSet::from(RESERVED.map(str::to_owned));
    for name in references.iter().map(RecordingRef::name) {
        if !seen.insert(name.clone()) {
            return Err(Error::DuplicateName { name });
        }
    }
    Ok(())
}

/// An engine without tables.
fn context(options: &SessionOptions) -> Result<SessionContext, Error> {
    let limit = options.memory_limit.unwrap_or_else(memory::default_limit);
    let spill = match &options.spill_dir {
        Some(dir) => DiskManagerMode::Directories(vec![dir.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), CONSUMERS_IN_MESSAGE)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(spill))
        .build_arc()?;
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        // Twice the default: questions over all rows spend less on each batch, which still fits a second cache.
        .with_batch_size(BATCH_ROWS)
        // `SELECT * FROM statistics(...)` keeps the order that the relation has.
        .set_bool("datafusion.sql_parser.enable_subquery_sort_elimination", false);
    if let Some(threads) = options.threads {
        config = config.with_target_partitions(threads.max(1));
    }
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(SmallKeys))
        .build();
    let context = SessionContext::new_with_state(state);
    for function in functions::all() {
        context.register_udf(Arc::unwrap_or_clone(function));
    }
    for function in functions::aggregates() {
        context.register_udaf(function);
    }
    Ok(context)
}
