//! How a table is declared: [`Table`] and [`Column`] as data, and the macro that makes them with a typed buffer.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int8Array, Int32Array, Int64Array, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

/// One column of a [`Table`].
#[derive(Debug)]
pub struct Column {
    /// Name in SQL and Parquet.
    pub name: &'static str,
    /// Arrow type.
    pub data_type: fn() -> DataType,
    /// Whether nulls occur.
    pub nullable: bool,
    /// Unit of the values (`ns`, `bytes`, ...); empty where there is none.
    pub unit: &'static str,
    /// What a value means.
    pub doc: &'static str,
}

/// One table of a recording.
#[derive(Debug)]
pub struct Table {
    /// Name in SQL; the Parquet file is `NAME.parquet`, or a directory of parts if [`Table::parts`].
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Whether the table is a directory `NAME/part-*.parquet`.
    pub parts: bool,
    /// Columns in order.
    pub columns: &'static [Column],
}

impl Table {
    /// The Arrow schema; the meaning of each column is in the field metadata under `doc` and `unit`.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// The column with this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

impl Column {
    fn field(&self) -> Field {
        let mut metadata = std::collections::HashMap::from([("doc".to_owned(), self.doc.to_owned())]);
        if !self.unit.is_empty() {
            metadata.insert("unit".to_owned(), self.unit.to_owned());
        }
        Field::new(self.name, (self.data_type)(), self.nullable).with_metadata(metadata)
    }
}

/// A Rust type that can be a column.
pub trait ColumnValue: Sized {
    /// Whether nulls occur.
    const NULLABLE: bool = false;
    /// Arrow type.
    fn data_type() -> DataType;
    /// Turns a column of values into an array.
    fn array(values: Vec<Self>) -> ArrayRef;
}

macro_rules! column_value {
    ($($rust:ty => $arrow:ident, $array:ty, $nullable:literal;)*) => {$(
        impl ColumnValue for $rust {
            const NULLABLE: bool = $nullable;
            fn data_type() -> DataType { DataType::$arrow }
            fn array(values: Vec<Self>) -> ArrayRef { Arc::new(<$array>::from(values)) }
        }
    )*};
}

column_value! {
    i8 => Int8, Int8Array, false;
    i32 => Int32, Int32Array, false;
    i64 => Int64, Int64Array, false;
    f64 => Float64, Float64Array, false;
    bool => Boolean, BooleanArray, false;
    String => Utf8, StringArray, false;
    Option<i32> => Int32, Int32Array, true;
    Option<i64> => Int64, Int64Array, true;
    Option<f64> => Float64, Float64Array, true;
    Option<String> => Utf8, StringArray, true;
}

impl ColumnValue for &'static str {
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn array(values: Vec<Self>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }
}

impl ColumnValue for Vec<i32> {
    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Int32, true)))
    }
    fn array(values: Vec<Self>) -> ArrayRef {
        let lengths = OffsetBuffer::from_lengths(values.iter().map(Vec::len));
        let items: Int32Array = values.into_iter().flatten().collect::<Vec<i32>>().into();
        let field =
            Arc::new(Field::new_list_field(<Int32Type as arrow::datatypes::ArrowPrimitiveType>::DATA_TYPE, true));
        Arc::new(ListArray::new(field, lengths, Arc::new(items), None))
    }
}

impl ColumnValue for Vec<String> {
    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
    }
    fn array(values: Vec<Self>) -> ArrayRef {
        let lengths = OffsetBuffer::from_lengths(values.iter().map(Vec::len));
        let items = StringArray::from(values.into_iter().flatten().collect::<Vec<String>>());
        Arc::new(ListArray::new(Arc::new(Field::new_list_field(DataType::Utf8, true)), lengths, Arc::new(items), None))
    }
}

/// A typed columnar buffer of one table.
pub trait Columns: Default {
    /// Its table.
    fn table() -> &'static Table;
    /// Rows in the buffer.
    fn len(&self) -> usize;
    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Empties the buffer into a batch with the table's schema.
    fn take(&mut self) -> RecordBatch;
}

/// Declares a table: documentation, name, static, buffer type, row type, then `/// meaning` and
/// `name: type [unit]` for each column.
macro_rules! define_table {
    (
        $(#[doc = $doc:literal])+
        $name:literal $(parts $parts:literal)?, $static:ident, $columns:ident, $row:ident {
            $( $(#[doc = $cdoc:literal])+ $col:ident: $ty:ty $([$unit:literal])?, )+
        }
    ) => {
        $(#[doc = $doc])+
        pub static $static: $crate::schema::Table = $crate::schema::Table {
            name: $name,
            doc: concat!($($doc, "\n"),+),
            parts: false $(|| $parts)?,
            columns: &[$(
                $crate::schema::Column {
                    name: stringify!($col),
                    data_type: <$ty as $crate::schema::ColumnValue>::data_type,
                    nullable: <$ty as $crate::schema::ColumnValue>::NULLABLE,
                    unit: concat!("" $(, $unit)?),
                    doc: concat!($($cdoc, "\n"),+),
                },
            )+],
        };

        #[doc = concat!("One row of `", $name, "`.")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $row { $( $(#[doc = $cdoc])+ pub $col: $ty, )+ }

        #[doc = concat!("Rows of `", $name, "`, column by column.")]
        #[derive(Clone, Debug, Default)]
        pub struct $columns { $( $(#[doc = $cdoc])+ pub $col: Vec<$ty>, )+ }

        impl $columns {
            /// Appends a row.
            pub fn push(&mut self, row: $row) {
                $( self.$col.push(row.$col); )+
            }
        }

        impl $crate::schema::define::Columns for $columns {
            fn table() -> &'static $crate::schema::Table { &$static }
            fn len(&self) -> usize { [$( self.$col.len(), )+][0] }
            fn take(&mut self) -> arrow::record_batch::RecordBatch {
                let arrays = vec![$(
                    <$ty as $crate::schema::ColumnValue>::array(std::mem::take(&mut self.$col)),
                )+];
                // The arrays are made from the same declaration as the schema, and `push` keeps them equally long.
                arrow::record_batch::RecordBatch::try_new($static.schema(), arrays)
                    .expect("columns of one declaration agree")
            }
        }
    };
}
pub(crate) use define_table;
