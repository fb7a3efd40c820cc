//! What names mean in SQL: one catalog `tmq` with the schema `public` (all recordings) and a schema per recording.
//!
//! With one recording, `public` holds its tables as they are. With several, its tables have a column `recording` in front
//! and the rows of all of them, and `"name".allocations` is one recording's own. Views are planned when they are named.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use datafusion::datasource::{TableProvider, TableType};
use tmq_store::schema::TABLES;

use crate::planner::Planner;
use crate::recording::Opened;
use crate::tables::RecordingTable;
use crate::views;

/// Name of the catalog.
pub(crate) const CATALOG: &str = "tmq";
/// Name of the schema with all recordings.
pub(crate) const PUBLIC: &str = "public";
/// Names that a recording cannot have.
pub(crate) const RESERVED: [&str; 2] = [PUBLIC, "information_schema"];

/// The catalog of a session.
#[derive(Debug)]
pub(crate) struct Catalog {
    schemas: HashMap<String, Arc<dyn SchemaProvider>>,
    order: Vec<String>,
}

impl Catalog {
    /// The catalog over the recordings of `planner`.
    pub(crate) fn new(planner: &Arc<Planner>) -> Result<Self> {
        let mut schemas: HashMap<String, Arc<dyn SchemaProvider>> = HashMap::new();
        let mut order = vec![PUBLIC.to_owned()];
        let tables = all_tables(planner.recordings())?;
        schemas.insert(PUBLIC.to_owned(), Arc::new(Schema::new(planner, None, tables)));
        for recording in planner.recordings() {
            let schema = Schema::new(planner, Some(Arc::clone(recording)), recording.tables.clone());
            schemas.insert(recording.name.clone(), Arc::new(schema));
            order.push(recording.name.clone());
        }
        Ok(Self { schemas, order })
    }
}

/// The tables of `public`.
fn all_tables(recordings: &[Arc<Opened>]) -> Result<HashMap<&'static str, Arc<RecordingTable>>> {
    if let [one] = recordings {
        return Ok(one.tables.clone());
    }
    let each = || recordings.iter().map(|r| (r.name.as_str(), &r.recording));
    TABLES.iter().map(|t| Ok((t.name, Arc::new(RecordingTable::of_many(t, each())?)))).collect()
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        self.order.clone()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.get(name).cloned()
    }
}

/// The tables and views of one recording, or of all.
#[derive(Debug)]
struct Schema {
    planner: Arc<Planner>,
    /// None: all recordings.
    recording: Option<Arc<Opened>>,
    tables: HashMap<&'static str, Arc<RecordingTable>>,
    /// What the user created.
    own: RwLock<HashMap<String, Arc<dyn TableProvider>>>,
}

impl Schema {
    fn new(
        planner: &Arc<Planner>,
        recording: Option<Arc<Opened>>,
        tables: HashMap<&'static str, Arc<RecordingTable>>,
    ) -> Self {
        Self { planner: Arc::clone(planner), recording, tables, own: RwLock::default() }
    }

    fn is_ours(&self, name: &str) -> bool {
        self.tables.contains_key(name) || views::view(name).is_some()
    }
}

/// Another thread panicked while it changed the list of tables.
fn poisoned<T>(_: T) -> DataFusionError {
    plan_datafusion_err!("the list of tables is broken; open the recording again")
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        let own = self.own.read().map(|own| own.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let tables = TABLES.iter().map(|t| t.name.to_owned());
        tables.chain(views::VIEWS.iter().map(|v| v.name.to_owned())).chain(own).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.tables.get(name) {
            return Ok(Some(Arc::clone(table) as Arc<dyn TableProvider>));
        }
        if let Some(view) = views::view(name) {
            return Ok(Some(match &self.recording {
                Some(recording) => self.planner.view(view, recording)?,
                None => self.planner.view_of_all(view)?,
            }));
        }
        Ok(self.own.read().map_err(poisoned)?.get(name).cloned())
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.tables.contains_key(name) {
            return Ok(Some(TableType::Base));
        }
        if views::view(name).is_some() {
            return Ok(Some(TableType::View));
        }
        Ok(self.own.read().map_err(poisoned)?.get(name).map(|t| t.table_type()))
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.is_ours(&name) {
            return Err(plan_datafusion_err!("{name} belongs to the recording: choose another name"));
        }
        Ok(self.own.write().map_err(poisoned)?.insert(name, table))
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if self.is_ours(name) {
            return Err(plan_datafusion_err!("{name} belongs to the recording and cannot be dropped"));
        }
        Ok(self.own.write().map_err(poisoned)?.remove(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.is_ours(name) || self.own.read().is_ok_and(|own| own.contains_key(name))
    }
}
