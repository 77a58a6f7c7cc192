//! Models that executors may ask: which there are, who may ask them and how much that may cost.
//!
//! The configuration is a YAML file, [`Models::read`]; docs/models.md is its reference. Keys are not in it: it names the Secrets
//! that have them, which the broker alone reads.

pub mod budget;
mod dialect;
mod grant;
mod price;
mod read;
pub mod record;
mod tokens;

use serde::{Deserialize, Serialize};

pub use budget::Limits;
pub use dialect::Dialect;
pub use grant::{Granted, NotGranted, findings};
pub use price::{Price, Usd};
pub use read::MAX_MODELS_BYTES;
pub use tokens::Tokens;

/// The port of loopback at which an executor finds its model.
pub const PORT: u16 = 8089;
/// Where the supervisor meets the relay, in the work folder.
pub const DOOR: &str = "private/model";
/// What the relay leaves there: the record of what models were asked.
pub const RECORD: &str = "private/model.jsonl";
/// Where it leaves the bodies of requests and answers, if these are recorded.
pub const BODIES: &str = "private/model-bodies.jsonl";
/// What it leaves where that can't be had: why.
pub const TROUBLE: &str = "private/model.trouble";
/// What whoever waits at a door says to whom it has let in, once the door is closed.
pub const GO: u8 = b'g';
/// What the relay says to the supervisor when a budget is used up, and nobody is asked for more.
pub const USED_UP: u8 = b'u';
/// The audience of the token by which a relay says whose it is.
pub const AUDIENCE: &str = "jct-model-broker";

/// The Secret that has a provider's key, in the operator's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    /// Its name.
    pub secret: String,
    /// Where in it.
    pub key: String,
}

/// Who has models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// As models name it.
    pub name: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// Its address up to the version, such as `https://api.anthropic.com`.
    pub url: String,
    /// Where its key is.
    pub key: KeyRef,
    /// Whether the address may be `http://`, by which whoever is on the way reads the key and the code.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// Who alone vouches for its host: certificates in PEM. Public authorities do where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
}

/// A model, by the name that executors and programs have for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// That name.
    pub alias: String,
    /// Who has it.
    pub provider: String,
    /// Its provider's name for it.
    pub model: String,
    /// What it costs; where dollars are limited, one without a price is refused.
    #[serde(default)]
    pub usd_per_million: Option<Price>,
}

/// Who may ask which models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Names of namespaces, or beginnings that end in `*`.
    pub namespaces: Vec<String>,
    /// What `owner/name` begins with.
    pub repos: Vec<String>,
    /// Models.
    pub aliases: Vec<String>,
    /// Dollars that all namespaces of the grant may use up together on a day (UTC).
    #[serde(default)]
    pub max_usd_per_day: Option<Usd>,
    /// Dollars that each of them may.
    #[serde(default)]
    pub max_usd_per_day_each_namespace: Option<Usd>,
    /// Tokens that all of them may together.
    #[serde(default)]
    pub max_tokens_per_day: Option<u64>,
    /// Whether it is meant that there is no limit of dollars.
    #[serde(default)]
    pub unlimited: bool,
    /// What happens when an attempt has used up its budget.
    #[serde(default)]
    pub when_used_up: WhenUsedUp,
    /// How long somebody is asked for more, in seconds.
    #[serde(default = "default_wait")]
    pub max_wait_seconds: u32,
}

/// What happens when an attempt has used up its budget. A day's is never raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenUsedUp {
    /// It ends.
    #[default]
    End,
    /// It waits, while somebody is asked for more.
    Ask,
}

fn default_wait() -> u32 {
    3600
}

/// What an attempt may use, where its executor's configuration says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// Dollars, over all attempts at a Task.
    pub max_usd: Option<Usd>,
    /// Tokens, likewise.
    pub max_tokens: Option<u64>,
    /// Requests, likewise.
    pub max_requests: Option<u64>,
    /// Exchanges at the same time; more wait.
    pub max_in_flight: u32,
    /// Bytes of a request.
    pub max_request_bytes: u64,
    /// Bytes of an answer.
    pub max_response_bytes: u64,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            max_usd: None,
            max_tokens: None,
            max_requests: None,
            max_in_flight: 4,
            max_request_bytes: 32 << 20,
            max_response_bytes: 64 << 20,
        }
    }
}

/// What an executor's configuration says of models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutorModel {
    /// Those that it may ask. The first one that its Task's namespace and repository are granted is `JCT_MODEL`.
    pub aliases: Vec<String>,
    /// Dollars, over all attempts at a Task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_usd: Option<Usd>,
    /// Tokens, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Requests, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u64>,
    /// Exchanges at the same time; more wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
}

/// All of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Who has models.
    pub providers: Vec<Provider>,
    /// Models.
    pub models: Vec<Model>,
    /// Who may ask them; none grant nothing.
    pub grants: Vec<Grant>,
    /// What attempts may use.
    pub defaults: Defaults,
    /// What is recorded of an exchange.
    pub record: Record,
}

/// What is recorded of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// What it was and what it cost: sizes and digests of bodies, and no body.
    #[default]
    Metadata,
    /// The bodies too, cut, and without the secrets that are found in them.
    Bodies,
}
