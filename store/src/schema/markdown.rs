//! The tables as a document: `SCHEMA.md`.

use std::fmt::Write;

use super::TABLES;

/// `SCHEMA.md`, made from the declarations.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Tables of a recording\n\n\
         Made from `store/src/schema` by a test; do not edit. `UPDATE_EXPECT=1 cargo test` writes it anew.\n\n\
         A recording is a directory of Parquet files that any engine opens: `NAME.parquet`, or `NAME/part-*.parquet` \
         where noted. Times are nanoseconds since the start of the recording; `metadata` has the start as \
         `start_unix_ns`.\n",
    );
    for table in TABLES {
        let parts = if table.parts { " (parts)" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## `{}`{parts}\n\n{}\n\n", table.name, one_line(table.doc));
        text.push_str("| column | type | null | unit | meaning |\n|---|---|---|---|---|\n");
        for column in table.columns {
            let null = if column.nullable { "yes" } else { "" };
            let data_type = match (column.data_type)() {
                arrow::datatypes::DataType::List(item) => format!("List({})", item.data_type()),
                other => other.to_string(),
            };
            let doc = one_line(column.doc).replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {data_type} | {null} | {} | {doc} |", column.name, column.unit);
        }
    }
    text
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
