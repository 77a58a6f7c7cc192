//! What every configuration that is a file of its own has in common: how it is read, and what is said of one that can't be used.

use serde::de::DeserializeOwned;

/// A configuration that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidConfiguration {
    /// Such as `executors[0].command`.
    pub field: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// That this field can't be used.
pub(crate) fn invalid(field: &str, message: String) -> InvalidConfiguration {
    InvalidConfiguration { field: field.into(), message }
}

/// Reads a YAML file of at most so many bytes as far as its types go; an empty one is the default.
pub(crate) fn parse<T: DeserializeOwned + Default>(yaml: &str, max_bytes: usize) -> Result<T, InvalidConfiguration> {
    if yaml.len() > max_bytes {
        return Err(invalid("(file)", format!("must not be larger than {max_bytes} bytes")));
    }
    let read: Option<T> = serde_yaml::from_str(yaml).map_err(|error| invalid("(file)", error.to_string()))?;
    Ok(read.unwrap_or_default())
}
