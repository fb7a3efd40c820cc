//! Values of the stack machine, in arenas. A value is a number or an index, so that cycles and deep nesting cost nothing
//! when they are dropped.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tracemalloc::{Frame, Snapshot, Trace, Traceback};

/// The two classes of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Snapshot,
    Traces,
}

/// Anything that a snapshot may hold. Indexes are into [`Values`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Text(u32),
    Tuple(u32),
    List(u32),
    Dict(u32),
    Object(u32),
    Class(Class),
    None,
    /// Data that a snapshot does not need: attributes that users added.
    Other,
}

/// All values.
#[derive(Debug, Default)]
pub(super) struct Values {
    texts: Vec<Arc<str>>,
    /// Tuples as (start, length) in `items`.
    tuples: Vec<(usize, u32)>,
    items: Vec<Value>,
    lists: Vec<Vec<Value>>,
    /// Dictionaries with the text keys that they have; others are of no interest.
    dicts: Vec<Vec<(u32, Value)>>,
    objects: Vec<(Class, Value)>,
}

/// Index of what comes next in an arena.
fn next<T>(arena: &[T]) -> Result<u32, String> {
    u32::try_from(arena.len()).map_err(|_| "it has too many objects".to_owned())
}

impl Values {
    pub(super) fn text(&mut self, text: String) -> Result<Value, String> {
        let index = next(&self.texts)?;
        self.texts.push(text.into());
        Ok(Value::Text(index))
    }

    pub(super) fn text_of(&self, value: Value) -> Option<&Arc<str>> {
        match value {
            Value::Text(index) => self.texts.get(index as usize),
            _ => None,
        }
    }

    pub(super) fn tuple(&mut self, items: &[Value]) -> Result<Value, String> {
        let index = next(&self.tuples)?;
        let length = u32::try_from(items.len()).map_err(|_| "it has a tuple that is too long".to_owned())?;
        self.tuples.push((self.items.len(), length));
        self.items.extend_from_slice(items);
        Ok(Value::Tuple(index))
    }

    pub(super) fn list(&mut self) -> Result<Value, String> {
        let index = next(&self.lists)?;
        self.lists.push(Vec::new());
        Ok(Value::List(index))
    }

    pub(super) fn dict(&mut self) -> Result<Value, String> {
        let index = next(&self.dicts)?;
        self.dicts.push(Vec::new());
        Ok(Value::Dict(index))
    }

    pub(super) fn object(&mut self, class: Class) -> Result<Value, String> {
        let index = next(&self.objects)?;
        self.objects.push((class, Value::Other));
        Ok(Value::Object(index))
    }

    /// Appends to a list; what is no list takes nothing.
    pub(super) fn append(&mut self, list: Value, items: &[Value]) -> Result<(), String> {
        match list {
            Value::List(index) => {
                let list = self.lists.get_mut(index as usize).ok_or("it appends to nothing")?;
                list.extend_from_slice(items);
                Ok(())
            }
            Value::Other => Ok(()),
            _ => Err("it appends to something that is no list".to_owned()),
        }
    }

    /// Sets keys of a dictionary; `pairs` alternates keys and values.
    pub(super) fn set_items(&mut self, dict: Value, pairs: &[Value]) -> Result<(), String> {
        let Value::Dict(index) = dict else {
            return if dict == Value::Other { Ok(()) } else { Err("it sets keys of no dictionary".to_owned()) };
        };
        let dict = self.dicts.get_mut(index as usize).ok_or("it sets keys of nothing")?;
        for pair in pairs.chunks(2) {
            match pair {
                [Value::Text(key), value] => dict.push((*key, *value)),
                [_, _] => {}
                _ => return Err("it has a key without a value".to_owned()),
            }
        }
        Ok(())
    }

    /// Gives an object its attributes.
    pub(super) fn build(&mut self, object: Value, state: Value) -> Result<(), String> {
        match object {
            Value::Object(index) => {
                self.objects.get_mut(index as usize).ok_or("it builds nothing")?.1 = state;
                Ok(())
            }
            _ => Err("it gives attributes to something that has none".to_owned()),
        }
    }

    /// An attribute of an object of that class.
    fn attribute(&self, object: Value, class: Class, name: &str) -> Option<Value> {
        let Value::Object(index) = object else { return None };
        let (own, state) = self.objects.get(index as usize)?;
        let Value::Dict(state) = state else { return None };
        let found = self
            .dicts
            .get(*state as usize)?
            .iter()
            .rev()
            .find(|(key, _)| self.texts.get(*key as usize).is_some_and(|text| &**text == name));
        found.filter(|_| *own == class).map(|(_, value)| *value)
    }

    fn items_of(&self, value: Value) -> Option<&[Value]> {
        let Value::Tuple(index) = value else { return None };
        let (start, length) = *self.tuples.get(index as usize)?;
        self.items.get(start..start + length as usize)
    }

    /// The snapshot that a value is.
    pub(super) fn snapshot(&self, value: Value) -> Result<Snapshot, String> {
        let traces = self.attribute(value, Class::Snapshot, "traces").ok_or("it holds no Snapshot")?;
        let list = self.attribute(traces, Class::Traces, "_traces").ok_or("its Snapshot has no traces")?;
        let Value::List(index) = list else { return Err("its traces are no list".to_owned()) };
        let list = self.lists.get(index as usize).ok_or("its traces are missing")?;
        let limit = match self.attribute(value, Class::Snapshot, "traceback_limit") {
            Some(Value::Int(limit)) => u32::try_from(limit).map_err(|_| "its traceback_limit is out of range")?,
            _ => return Err("its Snapshot has no traceback_limit".to_owned()),
        };
        let mut known = Known::default();
        let mut snapshot = Snapshot::new(Vec::with_capacity(list.len()), limit);
        for (position, trace) in list.iter().enumerate() {
            let trace = self.trace(*trace, &mut known).map_err(|e| format!("trace {position}: {e}"))?;
            snapshot.traces.push(trace);
        }
        Ok(snapshot)
    }

    /// `(size, frames)`, `(domain, size, frames)` or `(domain, size, frames, total number of frames)`.
    fn trace(&self, value: Value, known: &mut Known) -> Result<Trace, String> {
        let (domain, size, frames, total) = match self.items_of(value).ok_or("it is no tuple")? {
            [size, frames] => (Value::Int(0), *size, *frames, None),
            [domain, size, frames] => (*domain, *size, *frames, None),
            [domain, size, frames, Value::None] => (*domain, *size, *frames, None),
            [domain, size, frames, total] => (*domain, *size, *frames, Some(*total)),
            items => return Err(format!("it has {} parts", items.len())),
        };
        let number = |value, what: &str| match value {
            Value::Int(n) if n >= 0 => Ok(n),
            _ => Err(format!("its {what} is out of range")),
        };
        let small =
            |value, what: &str| u32::try_from(number(value, what)?).map_err(|_| format!("its {what} is out of range"));
        let total_nframe = total.map(|t| small(t, "number of frames")).transpose()?;
        let domain = i32::try_from(small(domain, "domain")?).map_err(|_| "its domain is out of range")?;
        let traceback = self.traceback(frames, known)?.with_total(total_nframe);
        Ok(Trace { domain, size: number(size, "size")?, traceback })
    }

    fn traceback(&self, value: Value, known: &mut Known) -> Result<Traceback, String> {
        let Value::Tuple(index) = value else { return Err("its frames are no tuple".to_owned()) };
        if let Some(traceback) = known.tracebacks.get(&index) {
            return Ok(traceback.clone());
        }
        let frames = self.items_of(value).ok_or("its frames are missing")?;
        let frames = frames.iter().map(|f| self.frame(*f, known)).collect::<Result<Vec<_>, _>>()?;
        let traceback = Traceback::new(frames);
        known.tracebacks.insert(index, traceback.clone());
        Ok(traceback)
    }

    fn frame(&self, value: Value, known: &mut Known) -> Result<Frame, String> {
        let Value::Tuple(index) = value else { return Err("a frame is no tuple".to_owned()) };
        if let Some(frame) = known.frames.get(&index) {
            return Ok(frame.clone());
        }
        let Some([filename, Value::Int(line)]) = self.items_of(value) else {
            return Err("a frame is not (filename, line)".to_owned());
        };
        let filename = self.text_of(*filename).ok_or("a file name is no text")?;
        let line = i32::try_from(*line).map_err(|_| "a line is out of range")?;
        let frame = Frame::new(Arc::clone(filename), line);
        known.frames.insert(index, frame.clone());
        Ok(frame)
    }
}

/// Tracebacks and frames that several traces share.
#[derive(Default)]
struct Known {
    tracebacks: HashMap<u32, Traceback>,
    frames: HashMap<u32, Frame>,
}
