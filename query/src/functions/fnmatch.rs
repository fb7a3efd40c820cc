//! `fnmatch(text, pattern)` and `filename_match(filename, pattern)`.
//!
//! Patterns that are plain text, or plain text with `*` at one or both ends, become equality or LIKE, which statistics
//! of Parquet files can answer and which run faster.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, StringViewArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, lit};

use crate::tracemalloc::{Pattern, normalize_filename};

/// Either function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Match {
    name: &'static str,
    /// Whether a trailing `.pyc` counts as `.py`.
    files: bool,
    signature: Signature,
}

impl Match {
    /// `fnmatch`.
    pub(super) fn fnmatch() -> Self {
        Self { name: "fnmatch", files: false, signature: Signature::string(2, Volatility::Immutable) }
    }

    /// `filename_match`.
    pub(super) fn filename_match() -> Self {
        Self { name: "filename_match", files: true, signature: Signature::string(2, Volatility::Immutable) }
    }

    fn compile(&self, pattern: &str) -> Pattern {
        Pattern::new(if self.files { normalize_filename(pattern) } else { pattern })
    }

    fn matches(&self, pattern: &Pattern, text: &str) -> bool {
        pattern.matches(if self.files { normalize_filename(text) } else { text })
    }

    fn column(&self, texts: &StringViewArray, patterns: &StringViewArray) -> BooleanArray {
        let mut compiled: Option<(String, Pattern)> = None;
        let rows = texts.iter().zip(patterns.iter()).map(|(text, pattern)| {
            let (text, pattern) = (text?, pattern?);
            if compiled.as_ref().is_none_or(|(source, _)| source != pattern) {
                compiled = Some((pattern.to_owned(), self.compile(pattern)));
            }
            compiled.as_ref().map(|(_, compiled)| self.matches(compiled, text))
        });
        rows.collect()
    }
}

impl ScalarUDFImpl for Match {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [ColumnarValue::Array(texts), ColumnarValue::Scalar(pattern)] = args.args.as_slice()
            && let Some(Some(pattern)) = pattern.try_as_str()
        {
            let pattern = self.compile(pattern);
            let texts = cast(texts, &DataType::Utf8View)?;
            let rows = texts.as_string_view().iter().map(|t| t.map(|t| self.matches(&pattern, t)));
            return Ok(ColumnarValue::Array(Arc::new(rows.collect::<BooleanArray>())));
        }
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (texts, patterns) = (cast(&arrays[0], &DataType::Utf8View)?, cast(&arrays[1], &DataType::Utf8View)?);
        let rows = self.column(texts.as_string_view(), patterns.as_string_view());
        if scalar {
            let value = rows.is_valid(0).then(|| rows.value(0));
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(value)));
        }
        Ok(ColumnarValue::Array(Arc::new(rows)))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let pattern = match args.as_slice() {
            [_, Expr::Literal(pattern, _)] if !self.files => Some(pattern.clone()),
            _ => None,
        };
        let simple = pattern.as_ref().and_then(|p| p.try_as_str().flatten()).and_then(Simple::of);
        let (Some(pattern), Some(simple)) = (pattern, simple) else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        // Arguments have one type by now, and so must the two sides of the new expression.
        let literal =
            |text: String| Ok::<_, DataFusionError>(lit(ScalarValue::Utf8(Some(text)).cast_to(&pattern.data_type())?));
        let text = args.into_iter().next().map(Box::new).unwrap_or_default();
        Ok(ExprSimplifyResult::Simplified(match simple {
            Simple::Equal(pattern) => (*text).eq(literal(pattern)?),
            Simple::Like(pattern) => Expr::Like(Like {
                negated: false,
                expr: text,
                pattern: Box::new(literal(pattern)?),
                escape_char: None,
                case_insensitive: false,
            }),
        }))
    }
}

/// What a simple pattern means without `fnmatch`.
#[derive(Debug, PartialEq)]
enum Simple {
    Equal(String),
    Like(String),
}

impl Simple {
    fn of(pattern: &str) -> Option<Self> {
        let inner = pattern.trim_matches('*');
        if inner.contains(['*', '?', '[']) {
            return None;
        }
        if inner.len() == pattern.len() {
            return Some(Self::Equal(pattern.to_owned()));
        }
        let mut like = String::new();
        if pattern.starts_with('*') {
            like.push('%');
        }
        for c in inner.chars() {
            if matches!(c, '%' | '_' | '\\') {
                like.push('\\');
            }
            like.push(c);
        }
        if pattern.ends_with('*') && !inner.is_empty() {
            like.push('%');
        }
        Some(Self::Like(like))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_patterns_become_equality_or_like() {
        let like = |p: &str| Some(Simple::Like(p.to_owned()));
        assert_eq!(Simple::of("a.py"), Some(Simple::Equal("a.py".to_owned())));
        assert_eq!(Simple::of(""), Some(Simple::Equal(String::new())));
        assert_eq!(Simple::of("*"), like("%"));
        assert_eq!(Simple::of("**"), like("%"));
        assert_eq!(Simple::of("*.py"), like("%.py"));
        assert_eq!(Simple::of("100%_\\*"), like("100\\%\\_\\\\%"));
        assert_eq!(Simple::of("*/lib/*"), like("%/lib/%"));
        for pattern in ["a*b", "?", "*[a]", "a?*"] {
            assert_eq!(Simple::of(pattern), None, "{pattern}");
        }
    }
}
