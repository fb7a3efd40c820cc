//! From rows to numbers of groups, in the order in which groups are first seen.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

/// Largest integer that has a position of its own: 4 MiB of positions for each thread.
pub(super) const LARGEST_POSITION: i64 = (1 << 20) - 1;
/// Most results of a `CASE`, whose numbers are bytes.
pub(super) const LARGEST_CLASSES: usize = 255;
/// Texts of up to this many bytes are a part of their view.
const INLINE: u32 = 12;
/// Places for the texts that were met last; a power of two.
const RECENT: usize = 64;
/// A position without a group.
const NONE: u32 = u32::MAX;

/// What rows are grouped by.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// Integers from 0 to about `largest`. Others are rare, but statistics may be wrong.
    Integer { expression: Arc<dyn PhysicalExpr>, largest: i64 },
    /// A few different texts.
    Text { expression: Arc<dyn PhysicalExpr> },
    /// The results of a `CASE`.
    Classes(Classes),
}

/// A `CASE` with literal results.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// The branches, in order.
    pub(super) branches: Vec<Class>,
    /// Number of the label of rows for which no condition holds.
    pub(super) otherwise: u8,
    /// The different results.
    pub(super) labels: Vec<ScalarValue>,
}

/// One branch.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) condition: Arc<dyn PhysicalExpr>,
    /// Number of its label.
    pub(super) label: u8,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { expression, .. } | Self::Text { expression } => write!(f, "{expression}"),
            Self::Classes(classes) => write!(f, "{} classes", classes.labels.len()),
        }
    }
}

impl Key {
    /// Without groups.
    pub(super) fn groups(&self, data_type: &DataType) -> Box<dyn Groups> {
        match self {
            Self::Integer { expression, largest } if *data_type == DataType::Int32 => {
                Box::new(Integers::<Int32Type>::new(Arc::clone(expression), *largest))
            }
            Self::Integer { expression, largest } => {
                Box::new(Integers::<Int64Type>::new(Arc::clone(expression), *largest))
            }
            Self::Text { expression } => Box::new(Texts::new(Arc::clone(expression))),
            Self::Classes(classes) => Box::new(Labels::new(classes.clone())),
        }
    }
}

/// The groups that were met.
pub(super) trait Groups: Send {
    /// Replaces `numbers` by the number of the group of each row.
    fn find(&mut self, batch: &RecordBatch, numbers: &mut Vec<usize>) -> Result<()>;
    /// How many there are.
    fn len(&self) -> usize;
    /// Their keys by number; there are none afterwards.
    fn take(&mut self) -> Result<ArrayRef>;
    /// Bytes of memory.
    fn size(&self) -> usize;
}

struct Integers<T: ArrowPrimitiveType> {
    expression: Arc<dyn PhysicalExpr>,
    /// By integer.
    positions: Vec<u32>,
    /// Of integers that have no position.
    others: HashMap<i64, u32>,
    null: Option<u32>,
    keys: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> Integers<T>
where
    T::Native: Into<i64>,
{
    fn new(expression: Arc<dyn PhysicalExpr>, largest: i64) -> Self {
        let positions = usize::try_from(largest.clamp(0, LARGEST_POSITION)).unwrap_or(0) + 1;
        Self { expression, positions: vec![NONE; positions], others: HashMap::new(), null: None, keys: Vec::new() }
    }

    #[inline]
    fn group(&mut self, key: T::Native) -> usize {
        let integer: i64 = key.into();
        let next = self.keys.len() as u32;
        let place = match usize::try_from(integer).ok().and_then(|at| self.positions.get_mut(at)) {
            Some(place) => place,
            None => self.others.entry(integer).or_insert(NONE),
        };
        if *place == NONE {
            *place = next;
            self.keys.push(Some(key));
        }
        *place as usize
    }

    fn null(&mut self) -> usize {
        let keys = &mut self.keys;
        let number = *self.null.get_or_insert_with(|| {
            keys.push(None);
            keys.len() as u32 - 1
        });
        number as usize
    }
}

impl<T: ArrowPrimitiveType> Groups for Integers<T>
where
    T::Native: Into<i64>,
{
    fn find(&mut self, batch: &RecordBatch, numbers: &mut Vec<usize>) -> Result<()> {
        let array = self.expression.evaluate(batch)?.into_array(batch.num_rows())?;
        let array = array.as_primitive::<T>();
        numbers.clear();
        if array.null_count() == 0 {
            numbers.extend(array.values().iter().map(|key| self.group(*key)));
        } else {
            for key in array {
                numbers.push(match key {
                    Some(key) => self.group(key),
                    None => self.null(),
                });
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn take(&mut self) -> Result<ArrayRef> {
        self.positions.fill(NONE);
        self.others.clear();
        self.null = None;
        Ok(Arc::new(std::mem::take(&mut self.keys).into_iter().collect::<PrimitiveArray<T>>()))
    }

    fn size(&self) -> usize {
        size_of_val(self.positions.as_slice())
            + self.keys.capacity() * size_of::<Option<T::Native>>()
            + self.others.capacity() * size_of::<(i64, u32)>()
    }
}

/// Texts, of which short ones are compared as the numbers that their views are.
struct Texts {
    expression: Arc<dyn PhysicalExpr>,
    /// Short texts that were met last, with their groups.
    recent: [(u128, u32); RECENT],
    short: HashMap<u128, u32>,
    long: HashMap<Box<str>, u32>,
    null: Option<u32>,
    keys: Vec<Option<Box<str>>>,
}

impl Texts {
    fn new(expression: Arc<dyn PhysicalExpr>) -> Self {
        let (short, long) = (HashMap::new(), HashMap::new());
        // No view is all ones: the unused bytes of a short text are zero.
        Self { expression, recent: [(u128::MAX, NONE); RECENT], short, long, null: None, keys: Vec::new() }
    }

    fn add(keys: &mut Vec<Option<Box<str>>>, text: Option<&str>) -> u32 {
        keys.push(text.map(Box::from));
        keys.len() as u32 - 1
    }

    fn null(&mut self) -> usize {
        let keys = &mut self.keys;
        *self.null.get_or_insert_with(|| Self::add(keys, None)) as usize
    }

    #[inline]
    fn group(&mut self, array: &StringViewArray, row: usize, view: u128) -> usize {
        // The first bytes, the last ones and the length tell short texts apart well enough.
        let mixed = (view as u64) ^ ((view >> 64) as u64);
        let at = (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize % RECENT;
        let (known, number) = self.recent[at];
        if known == view {
            return number as usize;
        }
        let keys = &mut self.keys;
        if view as u32 > INLINE {
            let text = array.value(row);
            if let Some(number) = self.long.get(text) {
                return *number as usize;
            }
            let number = Self::add(keys, Some(text));
            self.long.insert(text.into(), number);
            return number as usize;
        }
        let number = *self.short.entry(view).or_insert_with(|| Self::add(keys, Some(array.value(row))));
        self.recent[at] = (view, number);
        number as usize
    }
}

impl Groups for Texts {
    fn find(&mut self, batch: &RecordBatch, numbers: &mut Vec<usize>) -> Result<()> {
        let array = self.expression.evaluate(batch)?.into_array(batch.num_rows())?;
        let array = array.as_string_view();
        numbers.clear();
        if let Some(nulls) = array.nulls() {
            for (row, (view, valid)) in array.views().iter().zip(nulls).enumerate() {
                let number = if valid { self.group(array, row, *view) } else { self.null() };
                numbers.push(number);
            }
        } else {
            // Equal ones follow each other more often than not.
            let mut last = (u128::MAX, 0);
            numbers.extend(array.views().iter().enumerate().map(|(row, view)| {
                if *view != last.0 {
                    last = (*view, self.group(array, row, *view));
                }
                last.1
            }));
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn take(&mut self) -> Result<ArrayRef> {
        let keys = std::mem::take(&mut self.keys);
        *self = Self::new(Arc::clone(&self.expression));
        Ok(Arc::new(keys.into_iter().collect::<StringViewArray>()))
    }

    fn size(&self) -> usize {
        let long = self.long.keys().map(|text| 2 * text.len()).sum::<usize>();
        long + self.keys.capacity() * (size_of::<Option<Box<str>>>() + size_of::<(u128, u32)>())
    }
}

/// Labels of a `CASE`. Every condition is evaluated for all rows: that is cheaper than to split a batch.
struct Labels {
    classes: Classes,
    /// Group of each label.
    groups: Vec<u32>,
    /// Label of each group.
    keys: Vec<u8>,
    /// Label of each row.
    labels: Vec<u8>,
}

impl Labels {
    fn new(classes: Classes) -> Self {
        Self { groups: vec![NONE; classes.labels.len()], classes, keys: Vec::new(), labels: Vec::new() }
    }
}

/// Where a condition holds: null is as good as false.
fn holds(condition: &BooleanArray) -> datafusion::arrow::buffer::BooleanBuffer {
    match condition.nulls() {
        Some(nulls) => condition.values() & nulls.inner(),
        None => condition.values().clone(),
    }
}

impl Groups for Labels {
    fn find(&mut self, batch: &RecordBatch, numbers: &mut Vec<usize>) -> Result<()> {
        self.labels.clear();
        self.labels.resize(batch.num_rows(), self.classes.otherwise);
        // From the last to the first, which wins.
        for Class { condition, label } in self.classes.branches.iter().rev() {
            let condition = condition.evaluate(batch)?.into_array(batch.num_rows())?;
            for (of_row, holds) in self.labels.iter_mut().zip(&holds(condition.as_boolean())) {
                *of_row = if holds { *label } else { *of_row };
            }
        }
        numbers.clear();
        for label in &self.labels {
            let group = &mut self.groups[usize::from(*label)];
            if *group == NONE {
                *group = self.keys.len() as u32;
                self.keys.push(*label);
            }
            numbers.push(*group as usize);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn take(&mut self) -> Result<ArrayRef> {
        self.groups.fill(NONE);
        let labels = std::mem::take(&mut self.keys);
        ScalarValue::iter_to_array(labels.into_iter().map(|label| self.classes.labels[usize::from(label)].clone()))
    }

    fn size(&self) -> usize {
        self.labels.capacity()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::physical_expr::expressions::{Column, is_null};

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("key", column, true)]).unwrap()
    }

    fn key() -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("key", 0))
    }

    fn numbers(groups: &mut dyn Groups, column: ArrayRef) -> Vec<usize> {
        let mut numbers = vec![7];
        groups.find(&batch(column), &mut numbers).unwrap();
        numbers
    }

    #[test]
    fn integers_outside_of_what_statistics_said_are_groups_too() {
        let mut groups = Key::Integer { expression: key(), largest: 3 }.groups(&DataType::Int64);
        let column =
            || Arc::new(Int64Array::from(vec![Some(3), Some(-1), None, Some(i64::MAX), Some(3), None, Some(-1)]));
        assert_eq!(numbers(groups.as_mut(), column()), [0, 1, 2, 3, 0, 2, 1]);
        assert_eq!(numbers(groups.as_mut(), Arc::new(Int64Array::from(vec![0, 3]))), [4, 0]);
        let keys = Int64Array::from(vec![Some(3), Some(-1), None, Some(i64::MAX), Some(0)]);
        assert_eq!(groups.take().unwrap().as_ref(), &keys as &dyn Array);
        assert_eq!(groups.len(), 0);
        assert_eq!(numbers(groups.as_mut(), column()), [0, 1, 2, 3, 0, 2, 1]);
    }

    #[test]
    fn texts_of_any_length_are_told_apart() {
        let mut groups = Key::Text { expression: key() }.groups(&DataType::Utf8View);
        let texts =
            ["", "malloc", "mallocs", "twelve bytes", "thirteen byte", "thirteen byts", "malloc", "thirteen byte"];
        let column = Arc::new(StringViewArray::from_iter_values(texts));
        assert_eq!(numbers(groups.as_mut(), column), [0, 1, 2, 3, 4, 5, 1, 4]);
        let column = Arc::new(StringViewArray::from_iter([None, Some("malloc"), None]));
        assert_eq!(numbers(groups.as_mut(), column), [6, 1, 6]);
        let all = texts[..6].iter().map(|text| Some(*text)).chain([None]);
        assert_eq!(groups.take().unwrap().as_ref(), &StringViewArray::from_iter(all) as &dyn Array);
    }

    #[test]
    fn the_first_condition_that_holds_wins_and_null_does_not_hold() {
        let positive: Arc<dyn PhysicalExpr> = datafusion::physical_expr::expressions::binary(
            key(),
            datafusion::logical_expr::Operator::Gt,
            datafusion::physical_expr::expressions::lit(0i64),
            &batch(Arc::new(Int64Array::from(vec![0]))).schema(),
        )
        .unwrap();
        let classes = Classes {
            branches: vec![
                Class { condition: Arc::clone(&positive), label: 0 },
                Class { condition: is_null(key()).unwrap(), label: 1 },
                Class { condition: positive, label: 2 },
            ],
            otherwise: 2,
            labels: ["positive", "null", "rest"].map(ScalarValue::from).to_vec(),
        };
        let mut groups = Key::Classes(classes).groups(&DataType::Utf8);
        let column = Arc::new(Int64Array::from(vec![Some(-1), Some(1), None, Some(0)]));
        assert_eq!(numbers(groups.as_mut(), column), [0, 1, 2, 0]);
        let labels = groups.take().unwrap();
        assert_eq!(labels.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["rest", "positive", "null"]);
    }
}
