//! The first stage of an aggregation by a small key: what DataFusion's node promises, with other work inside.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildStats, ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, StatisticsArgs,
};
use futures::{StreamExt, stream};

use super::keys::{Groups, Key};

/// Groups that are held before their sums so far go on to the next stage, which adds them up.
const MOST_GROUPS: usize = 1 << 20;

/// A partial aggregation by a small key.
#[derive(Debug)]
pub(super) struct SmallKeysExec {
    /// What this stands for: the input, the aggregates, the schema and all properties.
    plan: Arc<AggregateExec>,
    key: Key,
    metrics: ExecutionPlanMetricsSet,
}

impl SmallKeysExec {
    pub(super) fn new(plan: AggregateExec, key: Key) -> Self {
        Self { plan: Arc::new(plan), key, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for SmallKeysExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if format != DisplayFormatType::TreeRender {
            write!(f, "SmallKeys by {}: ", self.key)?;
        }
        self.plan.fmt_as(format, f)
    }
}

impl ExecutionPlan for SmallKeysExec {
    fn name(&self) -> &'static str {
        "SmallKeysExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.plan.children()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = Arc::clone(&self.plan).replace_children(children, options)?;
        Ok(match plan.downcast_ref::<AggregateExec>() {
            Some(aggregate) => Arc::new(Self::new(aggregate.clone(), self.key.clone())),
            None => plan,
        })
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.plan.apply_expressions(f)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows_at_once = context.session_config().batch_size();
        let consumer = MemoryConsumer::new(format!("SmallKeys[{partition}]"));
        let work = Work {
            input: Some(self.plan.input().execute(partition, Arc::clone(&context))?),
            sums: Sums::new(&self.plan, &self.key)?,
            ready: None,
            rows_at_once,
            reservation: consumer.register(context.memory_pool()),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = stream::try_unfold(work, |mut work| async move {
            let batch = work.next().await?;
            Ok(batch.map(|batch| (batch, work)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, input: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.plan.statistics_from_inputs(input, args)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        self.plan.child_stats_requests(partition)
    }
}

/// One partition under way.
struct Work {
    /// None: all was read.
    input: Option<SendableRecordBatchStream>,
    sums: Sums,
    /// Sums on their way out, in slices.
    ready: Option<RecordBatch>,
    rows_at_once: usize,
    reservation: MemoryReservation,
    metrics: BaselineMetrics,
}

impl Work {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(rows) = self.ready.take() {
                let here = rows.num_rows().min(self.rows_at_once);
                if here < rows.num_rows() {
                    self.ready = Some(rows.slice(here, rows.num_rows() - here));
                }
                self.metrics.record_output(here);
                return Ok(Some(rows.slice(0, here)));
            }
            let Some(input) = &mut self.input else { return Ok(None) };
            let batch = input.next().await.transpose()?;
            let time = self.metrics.elapsed_compute().clone();
            let _timer = time.timer();
            match batch {
                Some(batch) => {
                    self.sums.add(&batch)?;
                    // What does not fit goes on early: the next stage can spill.
                    let fits = self.reservation.try_resize(self.sums.size()).is_ok();
                    if !fits || self.sums.groups.len() >= MOST_GROUPS {
                        self.ready = self.sums.take()?;
                    }
                }
                None => {
                    self.input = None;
                    self.ready = self.sums.take()?;
                    self.reservation.free();
                }
            }
        }
    }
}

/// The groups met so far with their sums.
struct Sums {
    schema: SchemaRef,
    groups: Box<dyn Groups>,
    aggregates: Vec<Aggregate>,
    /// Group of each row of a batch.
    numbers: Vec<usize>,
}

/// One aggregate function.
struct Aggregate {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn GroupsAccumulator>,
}

impl Sums {
    fn new(plan: &AggregateExec, key: &Key) -> Result<Self> {
        let aggregates = plan.aggr_expr().iter().zip(plan.filter_expr()).map(|(function, filter)| {
            let accumulator = function.create_groups_accumulator()?;
            Ok(Aggregate { arguments: function.expressions(), filter: filter.clone(), accumulator })
        });
        let schema = plan.schema();
        Ok(Self {
            groups: key.groups(schema.field(0).data_type()),
            aggregates: aggregates.collect::<Result<_>>()?,
            schema,
            numbers: Vec::new(),
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.groups.find(batch, &mut self.numbers)?;
        let array = |of: &Arc<dyn PhysicalExpr>| of.evaluate(batch)?.into_array(batch.num_rows());
        for aggregate in &mut self.aggregates {
            let values = aggregate.arguments.iter().map(array).collect::<Result<Vec<ArrayRef>>>()?;
            let filter = aggregate.filter.as_ref().map(array).transpose()?;
            let filter = filter.as_ref().map(AsArray::as_boolean);
            aggregate.accumulator.update_batch(&values, &self.numbers, filter, self.groups.len())?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.groups.size() + self.aggregates.iter().map(|a| a.accumulator.size()).sum::<usize>()
    }

    /// The sums, of which none are left.
    fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.groups.len() == 0 {
            return Ok(None);
        }
        let mut columns = vec![self.groups.take()?];
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator.state(EmitTo::All)?);
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}
