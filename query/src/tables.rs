//! The tables of recordings as DataFusion providers.
//!
//! A provider knows its schema, files and row counts from `store`, so that opening costs no listing and no inference.
//! Footers are read when a table is first scanned, for the statistics that pruning and join order use. The rows of
//! several recordings are one scan whose files carry the recording's name as a partition value, which lets a condition
//! on `recording` skip files unread.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::object_store::{ObjectMeta, path::Path as ObjectPath};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use tmq_store::Recording;
use tmq_store::schema::Table;
use tokio::sync::OnceCell;

/// Name of the column that tells the recordings of a session apart.
pub(crate) const RECORDING: &str = "recording";

/// Columns that have few different texts, which footers do not tell.
const FEW_TEXTS: [&str; 1] = ["kind"];
/// About how many.
const FEW: usize = 8;

/// One table over the files of one or more recordings.
#[derive(Debug)]
pub(crate) struct RecordingTable {
    definition: &'static Table,
    schema: TableSchema,
    files: Vec<PartitionedFile>,
    /// The files with statistics from their footers and the statistics of the whole table, once a scan needed them.
    known: OnceCell<(Vec<PartitionedFile>, Statistics)>,
}

impl RecordingTable {
    /// The rows of one recording, without a `recording` column.
    pub(crate) fn of_one(definition: &'static Table, recording: &Recording) -> Result<Self> {
        Ok(Self::new(definition, vec![], files(definition, recording)?))
    }

    /// The rows of several recordings, with a `recording` column in front.
    pub(crate) fn of_many<'a>(
        definition: &'static Table,
        recordings: impl IntoIterator<Item = (&'a str, &'a Recording)>,
    ) -> Result<Self> {
        let mut all = Vec::new();
        for (name, recording) in recordings {
            for file in files(definition, recording)? {
                all.push(file.with_partition_values(vec![ScalarValue::from(name)]));
            }
        }
        let column = Arc::new(Field::new(RECORDING, DataType::Utf8, false));
        Ok(Self::new(definition, vec![column], all))
    }

    fn new(definition: &'static Table, partition: Vec<FieldRef>, files: Vec<PartitionedFile>) -> Self {
        let schema =
            TableSchema::builder(with_views(&definition.schema())).with_table_partition_cols(partition).build();
        Self { definition, schema, files, known: OnceCell::new() }
    }

    /// Reads the footers of all files, once.
    async fn statistics(&self, state: &dyn Session) -> Result<&(Vec<PartitionedFile>, Statistics)> {
        self.known.get_or_try_init(|| self.read_footers(state)).await
    }

    async fn read_footers(&self, state: &dyn Session) -> Result<(Vec<PartitionedFile>, Statistics)> {
        let store = state.runtime_env().object_store(ObjectStoreUrl::local_filesystem())?;
        let format = ParquetFormat::default();
        let schema = self.schema.file_schema();
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let mut meta =
                format.infer_stats_and_ordering(state, &store, Arc::clone(schema), &file.object_meta).await?;
            for column in FEW_TEXTS.iter().filter_map(|name| schema.index_of(name).ok()) {
                if let Some(known) = meta.statistics.column_statistics.get_mut(column) {
                    known.distinct_count = Precision::Inexact(FEW);
                }
            }
            files.push(file.clone().with_statistics(Arc::new(meta.statistics)));
        }
        let each = files.iter().filter_map(|f| f.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(each, self.schema.table_schema())?;
        Ok((files, statistics))
    }
}

#[async_trait]
impl TableProvider for RecordingTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(self.definition.doc)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.table_schema().project(columns)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let (files, statistics) = self.statistics(state).await?;
        let groups = FileGroup::new(files.clone()).split_files(state.config().target_partitions());
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups)
            .with_statistics(statistics.clone())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(IgnoreDocumentation)))
            .build();
        let options = state.table_options().parquet.clone();
        ParquetFormat::default().with_options(options).create_physical_plan(state, config).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// The files of a table that have rows.
fn files(table: &'static Table, recording: &Recording) -> Result<Vec<PartitionedFile>> {
    let listed = recording.manifest().files.iter();
    listed
        .filter(|f| f.table == table.name && f.rows > 0)
        .map(|f| partitioned_file(&recording.path().join(&f.path), f.bytes))
        .collect()
}

fn partitioned_file(path: &Path, size: u64) -> Result<PartitionedFile> {
    let location = ObjectPath::from_absolute_path(std::path::absolute(path)?)
        .map_err(|e| DataFusionError::ObjectStore(Box::new(e.into())))?;
    let last_modified = std::fs::metadata(path)?.modified()?.into();
    Ok(PartitionedFile::new_from_meta(ObjectMeta { location, last_modified, size, e_tag: None, version: None }))
}

/// Adapts expressions to a file as DataFusion does, but for the documentation in the file's schema: a column that differs
/// from the table's in metadata alone would be read through a cast, by which a condition on nulls skips nothing.
#[derive(Debug)]
struct IgnoreDocumentation;

impl PhysicalExprAdapterFactory for IgnoreDocumentation {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let fields = file.fields().iter().map(|field| field.as_ref().clone().with_metadata(HashMap::new()));
        DefaultPhysicalExprAdapterFactory.create(table, Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }
}

/// The schema with text as views, which DataFusion groups and compares without copying, and without the documentation
/// in its metadata, which DataFusion compares as a part of a column's type.
fn with_views(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
        other => Field::new(field.name(), other.clone(), field.is_nullable()),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{Column, is_null};
    use tmq_store::schema::ALLOCATIONS;

    use super::*;

    #[test]
    fn a_condition_on_nulls_is_on_the_column_of_the_file() {
        let file = ALLOCATIONS.schema();
        let index = file.index_of("free_ns").unwrap();
        assert!(!file.field(index).metadata().is_empty(), "a file has documentation");
        let condition: Arc<dyn PhysicalExpr> = is_null(Arc::new(Column::new("free_ns", index))).unwrap();
        let adapter = IgnoreDocumentation.create(with_views(&file), file).unwrap();
        assert_eq!(adapter.rewrite(Arc::clone(&condition)).unwrap().to_string(), condition.to_string());
    }
}
