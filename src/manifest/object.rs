//! The objects of documents: those of a list are its entries.

use serde_json::{Map, Value};

use super::Document;

/// An object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The document that it is in, counted from 1.
    pub document: usize,
    /// As it is sent.
    pub object: Value,
    /// The keys that are given more than once in one mapping of its document, by their paths.
    pub repeated: Vec<String>,
}

/// The objects of a document: none of an empty one.
///
/// # Errors
/// If it is a list that kubectl can't take apart.
pub(super) fn flatten(number: usize, document: Document) -> Result<Vec<Manifest>, String> {
    let Document { value, repeated } = document;
    let values = match value {
        Value::Null => Vec::new(),
        // To kubectl everything with items is a list.
        Value::Object(mut list) if list.contains_key("items") => match list.remove("items") {
            Some(Value::Array(items)) => {
                let items = items.into_iter().enumerate();
                items.map(|(index, item)| item_of(&list, index, item)).collect::<Result<_, _>>()?
            }
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err("items must be a list".into()),
        },
        object => vec![object],
    };
    let manifests = values.into_iter().map(|object| Manifest { document: number, object, repeated: Vec::new() });
    let mut manifests: Vec<Manifest> = manifests.collect();
    if let Some(first) = manifests.first_mut() {
        first.repeated = repeated;
    }
    Ok(manifests)
}

/// Of what says neither kind nor version, both are as the list has them.
fn item_of(list: &Map<String, Value>, index: usize, item: Value) -> Result<Value, String> {
    let Value::Object(mut item) = item else { return Err(format!("items[{index}] must be an object")) };
    if item.contains_key("items") {
        return Err(format!("items[{index}] is a list itself: kubectl takes no list within a list"));
    }
    let text = |name: &str| list.get(name).and_then(Value::as_str).unwrap_or_default();
    if !item.contains_key("kind") && !item.contains_key("apiVersion") {
        match text("kind").strip_suffix("List").unwrap_or(text("kind")) {
            "" => return Err(format!("items[{index}].kind is required")),
            kind => item.insert("kind".into(), kind.into()),
        };
        item.insert("apiVersion".into(), text("apiVersion").into());
    }
    Ok(Value::Object(item))
}

impl Manifest {
    /// The text at a JSON pointer; none if there is something else or nothing.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.object.pointer(pointer).and_then(Value::as_str)
    }

    /// Its kind; empty if it says none.
    pub fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    /// Its version, with its group; empty if it says none.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion").unwrap_or_default()
    }

    /// Its name, or what one is to be generated from.
    pub fn name(&self) -> Option<&str> {
        let given = |pointer| self.text(pointer).filter(|name| !name.is_empty());
        given("/metadata/name").or_else(|| given("/metadata/generateName"))
    }

    /// Its spec; null if there is none.
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }
}
