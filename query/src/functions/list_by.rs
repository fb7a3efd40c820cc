//! `list_by(value, position)`: the values of a group as a list in the order of their positions.
//!
//! It is `array_agg(value ORDER BY position)` for millions of rows in tens of thousands of groups, on which the engine's
//! own ordered aggregate takes a hundred times as long: rows are only noted down here, and put in order once at the end.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, interleave};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ListBy {
    signature: Signature,
}

impl Default for ListBy {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn list_of(value: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(value.clone(), true)))
}

/// Element type of the list that the function returns.
fn element(args: &AccumulatorArgs<'_>) -> Result<DataType> {
    match args.return_field.data_type() {
        DataType::List(field) => Ok(field.data_type().clone()),
        other => internal_err!("list_by returns {other}"),
    }
}

impl AggregateUDFImpl for ListBy {
    fn name(&self) -> &str {
        "list_by"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value, position] if position.is_integer() => Ok(vec![value.clone(), DataType::Int64]),
            _ => plan_err!("list_by takes a value and an integer: list_by(value, position)"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(list_of(&types[0]))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |what: &str, kind| Arc::new(Field::new(format!("{}[{what}]", args.name), kind, true));
        Ok(vec![field("values", args.return_type().clone()), field("positions", list_of(&DataType::Int64))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One(Lists::new(element(&args)?))))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct && args.order_bys.is_empty()
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Lists::new(element(&args)?)))
    }
}

/// One row that belongs to a group.
#[derive(Clone, Copy, Debug)]
struct Entry {
    group: usize,
    position: i64,
    chunk: u32,
    row: u32,
}

/// The lists of all groups, as rows noted down.
#[derive(Debug)]
struct Lists {
    value: DataType,
    chunks: Vec<ArrayRef>,
    entries: Vec<Entry>,
    groups: usize,
}

impl Lists {
    fn new(value: DataType) -> Self {
        Self { value, chunks: Vec::new(), entries: Vec::new(), groups: 0 }
    }

    /// Keeps an array whose rows entries refer to.
    fn keep(&mut self, values: &ArrayRef) -> Result<u32> {
        self.chunks.push(Arc::clone(values));
        u32::try_from(self.chunks.len() - 1).or_else(|_| internal_err!("too many batches"))
    }

    fn note(&mut self, group: usize, position: i64, chunk: u32, row: usize) -> Result<()> {
        let row = u32::try_from(row).or_else(|_| internal_err!("too many rows in a batch"))?;
        self.entries.push(Entry { group, position, chunk, row });
        Ok(())
    }

    /// Takes the entries of the groups to emit, in order of group and position, and the number of groups.
    fn take(&mut self, emit: EmitTo) -> (Vec<Entry>, usize) {
        let mut entries = std::mem::take(&mut self.entries);
        let groups = match emit {
            EmitTo::All => std::mem::take(&mut self.groups),
            EmitTo::First(n) => {
                let (now, mut later): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| e.group < n);
                later.iter_mut().for_each(|e| e.group -= n);
                self.entries = later;
                self.groups -= n;
                entries = now;
                n
            }
        };
        if !entries.is_sorted_by_key(|e| (e.group, e.position)) {
            entries.sort_by_key(|e| (e.group, e.position));
        }
        (entries, groups)
    }

    /// The values of entries as one list per group.
    fn lists(&self, entries: &[Entry], groups: usize) -> Result<ArrayRef> {
        let chunks: Vec<&dyn Array> = self.chunks.iter().map(AsRef::as_ref).collect();
        let rows: Vec<(usize, usize)> = entries.iter().map(|e| (e.chunk as usize, e.row as usize)).collect();
        let values = if rows.is_empty() { new_empty_array(&self.value) } else { interleave(&chunks, &rows)? };
        list(values, entries, groups)
    }

    fn forget_chunks_unless_needed(&mut self) {
        if self.entries.is_empty() {
            self.chunks.clear();
        }
    }
}

fn list(values: ArrayRef, entries: &[Entry], groups: usize) -> Result<ArrayRef> {
    let mut lengths = vec![0usize; groups];
    entries.iter().for_each(|e| lengths[e.group] += 1);
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, None)?))
}

impl GroupsAccumulator for Lists {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total);
        let chunk = self.keep(&values[0])?;
        let positions = values[1].as_primitive::<Int64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            if filter.is_none_or(|f| f.is_valid(row) && f.value(row)) {
                self.note(*group, positions.value(row), chunk, row)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let (entries, groups) = self.take(emit);
        let lists = self.lists(&entries, groups);
        self.forget_chunks_unless_needed();
        lists
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let (entries, groups) = self.take(emit);
        let positions = Int64Array::from_iter_values(entries.iter().map(|e| e.position));
        let state = vec![self.lists(&entries, groups)?, list(Arc::new(positions), &entries, groups)?];
        self.forget_chunks_unless_needed();
        Ok(state)
    }

    fn merge_batch(&mut self, state: &[ArrayRef], group_indices: &[usize], total: usize) -> Result<()> {
        self.groups = self.groups.max(total);
        let (values, positions) = (state[0].as_list::<i32>(), state[1].as_list::<i32>());
        let chunk = self.keep(values.values())?;
        let place = cast(positions.values(), &DataType::Int64)?;
        let place = place.as_primitive::<Int64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            let at = |offsets: &[i32]| (offsets[row] as usize, offsets[row + 1] as usize);
            let (from, to) = at(values.value_offsets());
            let (place_from, _) = at(positions.value_offsets());
            for i in 0..to - from {
                self.note(*group, place.value(place_from + i), chunk, from + i)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows: Vec<usize> = (0..values[0].len()).collect();
        let mut own = Self::new(self.value.clone());
        own.update_batch(values, &rows, filter, rows.len())?;
        own.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(Array::get_array_memory_size).sum();
        chunks + self.entries.capacity() * size_of::<Entry>()
    }
}

/// The list of the only group of a query without GROUP BY.
#[derive(Debug)]
struct One(Lists);

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(values, &vec![0; values[0].len()], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.groups = 1;
        ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.groups = 1;
        self.0.state(EmitTo::All)?.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states, &vec![0; states[0].len()], 1)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
