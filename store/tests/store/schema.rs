//! The documented schema is the declared one, and its references hold together.

use std::collections::HashSet;
use std::path::Path;

use tmq_store::schema::{TABLES, markdown};

#[test]
fn schema_md_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SCHEMA.md");
    let text = markdown();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "SCHEMA.md is not what store/src/schema says: run the tests with UPDATE_EXPECT=1");
}

#[test]
fn tables_and_columns_have_names_and_docs_of_their_own() {
    let names: HashSet<_> = TABLES.iter().map(|t| t.name).collect();
    assert_eq!(names.len(), TABLES.len());
    for table in TABLES {
        let columns: HashSet<_> = table.columns.iter().map(|c| c.name).collect();
        assert_eq!(columns.len(), table.columns.len(), "{}", table.name);
        for column in table.columns {
            assert!(column.doc.trim().len() > 3, "{}.{}", table.name, column.name);
            assert_eq!(column.unit == "ns", column.name.ends_with("_ns"), "{}.{}", table.name, column.name);
        }
    }
}
