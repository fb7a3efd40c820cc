//! How a column's values are stored, in pages and in statistics.

use parquet::basic::Type;
use parquet::data_type::ByteArray;
use parquet::file::statistics::Statistics;

/// How a column's values are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Physical {
    /// INT32; values are the numbers.
    Int32,
    /// INT64; values are the numbers.
    Int64,
    /// DOUBLE, of numbers above zero; values are their bits, which have the same order.
    Double,
    /// BYTE_ARRAY; values are indexes of these texts, which are in order, so that least and most of the values are those of
    /// the texts ([`Physical::text`]).
    Text(&'static [&'static str]),
    /// BOOLEAN; values are 0 and 1. Never in a dictionary.
    Bool,
}

impl Physical {
    /// Texts, which must be in order.
    ///
    /// # Panics
    /// They are not; when compiled, because columns are constants.
    pub(crate) const fn text(texts: &'static [&'static str]) -> Self {
        let mut i = 1;
        while i < texts.len() {
            assert!(is_before(texts[i - 1].as_bytes(), texts[i].as_bytes()), "texts of a column must be in order");
            i += 1;
        }
        Self::Text(texts)
    }

    pub(super) fn of_column(self) -> Type {
        match self {
            Self::Int32 => Type::INT32,
            Self::Int64 => Type::INT64,
            Self::Double => Type::DOUBLE,
            Self::Text(_) => Type::BYTE_ARRAY,
            Self::Bool => Type::BOOLEAN,
        }
    }

    /// The Arrow type.
    #[cfg(test)]
    pub(crate) fn data_type(self) -> arrow::datatypes::DataType {
        use arrow::datatypes::DataType;
        match self {
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Text(_) => DataType::Utf8,
            Self::Bool => DataType::Boolean,
        }
    }

    fn text_of(texts: &'static [&'static str], value: i64) -> &'static str {
        usize::try_from(value).ok().and_then(|i| texts.get(i)).copied().unwrap_or("")
    }

    /// Appends a value in the encoding PLAIN.
    pub(super) fn plain(self, value: i64, out: &mut Vec<u8>) {
        if let Self::Text(texts) = self {
            out.extend_from_slice(&(Self::text_of(texts, value).len() as u32).to_le_bytes());
        }
        out.extend_from_slice(&self.bytes(value));
    }

    /// A value as statistics have it.
    pub(super) fn bytes(self, value: i64) -> Vec<u8> {
        match self {
            Self::Int32 => (value as i32).to_le_bytes().to_vec(),
            Self::Int64 | Self::Double => value.to_le_bytes().to_vec(),
            Self::Text(texts) => Self::text_of(texts, value).as_bytes().to_vec(),
            Self::Bool => vec![value as u8],
        }
    }

    pub(super) fn statistics(self, range: Option<(i64, i64)>, nulls: u64) -> Statistics {
        let (least, most) = range.unzip();
        let nulls = Some(nulls);
        match self {
            Self::Int32 => Statistics::int32(least.map(|v| v as i32), most.map(|v| v as i32), None, nulls, false),
            Self::Int64 => Statistics::int64(least, most, None, nulls, false),
            Self::Double => {
                let double = |v: i64| f64::from_bits(v.cast_unsigned());
                Statistics::double(least.map(double), most.map(double), None, nulls, false)
            }
            Self::Text(_) => {
                let text = |v: i64| ByteArray::from(self.bytes(v));
                Statistics::byte_array(least.map(text), most.map(text), None, nulls, false)
            }
            Self::Bool => Statistics::boolean(least.map(|v| v != 0), most.map(|v| v != 0), None, nulls, false),
        }
    }
}

/// Whether `a` comes before `b`.
const fn is_before(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return a[i] < b[i];
        }
        i += 1;
    }
    a.len() < b.len()
}
