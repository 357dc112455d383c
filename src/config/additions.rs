//! What a registry adds to the configuration file: identity providers and strategies that were made
//! over REST, and the strategies that APIs accept beside those of the file.
//!
//! They are read and checked by the same code as the file's own, as if they stood at the end of its
//! lists. Their place in messages is `registry`, without a line; the column is the entry's position
//! among what was added to its list, from 1.

use serde_json::Value as Json;

use super::document::{Entry, Node, Value};

/// What a registry adds. The default adds nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Additions {
    /// Entries of `identity_providers`, in the file's own form.
    pub identity_providers: Vec<Json>,
    /// Entries of `auth_strategies`, in the file's own form.
    pub auth_strategies: Vec<Json>,
    /// Names of strategies that an API accepts after those of the file, by the API's name.
    pub apis: Vec<(String, Vec<String>)>,
}

impl Additions {
    /// What stands for a file's name in messages about what was added.
    pub const PLACE: &str = "registry";

    /// Puts them into a document.
    pub(super) fn add_to(&self, document: &mut Node) {
        append(document, "identity_providers", &self.identity_providers);
        append(document, "auth_strategies", &self.auth_strategies);
        let Some(apis) = child(document, "apis") else {
            return;
        };
        let Value::List(apis) = &mut apis.value else {
            return;
        };
        for (name, strategies) in &self.apis {
            let named = |api: &mut Node| child(api, "name").and_then(|at| text(at));
            let position = apis
                .iter_mut()
                .position(|api| named(api).as_ref() == Some(name));
            let Some(api) = position.and_then(|position| apis.get_mut(position)) else {
                // An API that the file no longer has.
                continue;
            };
            let listed: Vec<String> = match child(api, "auth_strategies").map(|list| &list.value) {
                Some(Value::List(items)) => items.iter().filter_map(text).collect(),
                _ => Vec::new(),
            };
            let further = strategies.iter().filter(|name| !listed.contains(*name));
            let further: Vec<Json> = further.cloned().map(Json::String).collect();
            append(api, "auth_strategies", &further);
        }
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn child<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut node.value else {
        return None;
    };
    let found = entries.iter_mut().find(|entry| entry.key == key);
    found.map(|entry| &mut entry.value)
}

/// Puts items at the end of a list, which is made where there is none. What is no list stays as it
/// is, and is a fault of the file.
fn append(map: &mut Node, key: &str, items: &[Json]) {
    if items.is_empty() {
        return;
    }
    let items = (1..)
        .zip(items)
        .map(|(position, item)| node(item, position));
    match child(map, key).map(|list| &mut list.value) {
        Some(Value::List(list)) => list.extend(items),
        Some(empty @ Value::Null) => *empty = Value::List(items.collect()),
        Some(_) => {}
        None => {
            let Value::Map(entries) = &mut map.value else {
                return;
            };
            entries.push(entry(key, of_registry(Value::List(items.collect()), 0), 0));
        }
    }
}

fn node(json: &Json, position: u64) -> Node {
    let is_typed = matches!(json, Json::Bool(_) | Json::Number(_));
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Text(value.to_string()),
        Json::Number(number) => Value::Text(number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(|item| node(item, position)).collect()),
        Json::Object(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| entry(key, node(value, position), position));
            Value::Map(entries.collect())
        }
    };
    Node {
        is_typed,
        ..of_registry(value, position)
    }
}

/// A value that stands on no line of the file. Where a column would be, its place among what was
/// added, from 1.
fn of_registry(value: Value, position: u64) -> Node {
    Node {
        line: 0,
        column: position,
        is_typed: false,
        value,
    }
}

fn entry(key: &str, value: Node, position: u64) -> Entry {
    Entry {
        key: key.to_owned(),
        line: 0,
        column: position,
        value,
    }
}
