//! Chooses the aggregations whose keys are small.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, Column, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use datafusion::scalar::ScalarValue;

use super::keys::{Class, Classes, Key, LARGEST_CLASSES, LARGEST_POSITION};
use super::operator::SmallKeysExec;

/// Texts that a column may have for its groups to be found by comparison.
const MOST_TEXTS: usize = 64;

/// Replaces the first stage of aggregations by one small key.
#[derive(Debug)]
pub(crate) struct SmallKeys;

impl PhysicalOptimizerRule for SmallKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return Ok(Transformed::no(node)) };
            match small_key(aggregate)? {
                Some(key) => Ok(Transformed::yes(Arc::new(SmallKeysExec::new(aggregate.clone(), key)))),
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "small_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The key, if the operator can do the same as this node.
fn small_key(aggregate: &AggregateExec) -> Result<Option<Key>> {
    let plain = aggregate.aggr_expr().iter().all(|a| a.groups_accumulator_supported() && a.order_bys().is_empty());
    let [(expression, _)] = aggregate.group_expr().expr() else { return Ok(None) };
    if *aggregate.mode() != AggregateMode::Partial
        || !plain
        || !aggregate.group_expr().is_single()
        || aggregate.limit_options().is_some()
        || *aggregate.input_order_mode() != InputOrderMode::Linear
    {
        return Ok(None);
    }
    if let Some(case) = expression.downcast_ref::<CaseExpr>() {
        return Ok(classes(case).map(Key::Classes));
    }
    let Some(column) = expression.downcast_ref::<Column>() else { return Ok(None) };
    let statistics = StatisticsContext::new().compute(aggregate.input().as_ref(), &StatisticsArgs::new())?;
    let Some(known) = statistics.column_statistics.get(column.index()) else { return Ok(None) };
    let data_type = expression.data_type(&aggregate.input().schema())?;
    Ok(match data_type {
        DataType::Int32 | DataType::Int64 => {
            let bound = |value: Option<&ScalarValue>| value.and_then(integer);
            match (bound(known.min_value.get_value()), bound(known.max_value.get_value())) {
                (Some(min), Some(max)) if min >= 0 && max <= LARGEST_POSITION => {
                    Some(Key::Integer { expression: Arc::clone(expression), largest: max })
                }
                _ => None,
            }
        }
        DataType::Utf8View if known.distinct_count.get_value().is_some_and(|n| *n <= MOST_TEXTS) => {
            Some(Key::Text { expression: Arc::clone(expression) })
        }
        _ => None,
    })
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        _ => None,
    }
}

/// `CASE WHEN ... THEN literal ... END`, if its conditions can be evaluated for rows that do not reach them.
fn classes(case: &CaseExpr) -> Option<Classes> {
    if case.expr().is_some() {
        return None;
    }
    let mut labels: Vec<ScalarValue> = Vec::new();
    let mut label = |result: &Arc<dyn PhysicalExpr>| {
        let value = result.downcast_ref::<Literal>()?.value();
        let at = labels.iter().position(|l| l == value).unwrap_or_else(|| {
            labels.push(value.clone());
            labels.len() - 1
        });
        u8::try_from(at).ok()
    };
    let mut branches = Vec::new();
    for (condition, result) in case.when_then_expr() {
        if !never_fails(condition) {
            return None;
        }
        branches.push(Class { condition: Arc::clone(condition), label: label(result)? });
    }
    let otherwise = match case.else_expr() {
        Some(result) => Some(label(result)?),
        None => None,
    };
    let data_type = labels.first()?.data_type();
    let otherwise = match otherwise {
        Some(label) => label,
        None => {
            labels.push(ScalarValue::try_new_null(&data_type).ok()?);
            u8::try_from(labels.len() - 1).ok()?
        }
    };
    (labels.len() <= LARGEST_CLASSES).then_some(Classes { branches, otherwise, labels })
}

/// Whether a condition has a value for every row: comparisons and wrapping arithmetic of columns and literals do,
/// divisions and casts may not.
fn never_fails(condition: &Arc<dyn PhysicalExpr>) -> bool {
    let mut safe = true;
    let visited = condition.apply(|part| {
        let this = match part.downcast_ref::<BinaryExpr>() {
            Some(binary) => {
                use Operator::{And, Eq, Gt, GtEq, Lt, LtEq, Minus, NotEq, Or, Plus};
                matches!(binary.op(), Eq | NotEq | Lt | LtEq | Gt | GtEq | Plus | Minus | And | Or)
            }
            None => {
                part.is::<Column>()
                    || part.is::<Literal>()
                    || part.is::<IsNullExpr>()
                    || part.is::<IsNotNullExpr>()
                    || part.is::<NotExpr>()
            }
        };
        safe &= this;
        Ok(if safe { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    safe && visited.is_ok()
}
