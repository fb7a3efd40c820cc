//! `format_size(bytes [, sign])`: bytes with a unit, to the letter as tracemalloc writes them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::tracemalloc::format_size;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FormatSize {
    signature: Signature,
}

impl Default for FormatSize {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for FormatSize {
    fn name(&self) -> &str {
        "format_size"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = |t: &DataType| t.is_numeric() || t.is_null();
        match types {
            [bytes] if number(bytes) => Ok(vec![DataType::Float64]),
            [bytes, DataType::Boolean] if number(bytes) => Ok(vec![DataType::Float64, DataType::Boolean]),
            _ => plan_err!("format_size takes a number and optionally a boolean: format_size(bytes [, sign])"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let bytes = arrays[0].as_primitive::<Float64Type>();
        let signs = arrays.get(1).map(AsArray::as_boolean);
        let text: StringArray = (0..bytes.len())
            .map(|row| {
                let sign = signs.is_some_and(|s| s.is_valid(row) && s.value(row));
                bytes.is_valid(row).then(|| format_size(bytes.value(row), sign))
            })
            .collect();
        let text: Arc<dyn Array> = Arc::new(text);
        if scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&text, 0)?));
        }
        Ok(ColumnarValue::Array(text))
    }
}
