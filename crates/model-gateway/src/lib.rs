//! Models for executors that have no network and no key.
//!
//! ```text
//! executor ─ socket proxy ─▶ relay ─ TLS ─▶ broker ─ TLS ─▶ provider
//!            (jct-socket-proxy)   beside it, has     has the keys, the budgets
//!                                 an identity        and the record
//! ```
//!
//! Contract: section "Models". Nothing here knows of Kubernetes or of a database: who an attempt is ([`Identity`]), who
//! keeps its accounts ([`Ledger`]) and how a provider is reached (a connector of hyper-util's) the caller says.
//!
//! What is pure: which paths, headers and requests are let through ([`Route`], [`headers`], [`request`]), how an answer's usage
//! is read ([`usage`]), what it costs ([`Price`]), what budgets allow ([`budget`]), what is recorded ([`record`]).

#![warn(missing_docs)] // other crates use it

pub mod body;
pub mod broker;
pub mod catalog;
pub mod connect;
pub mod headers;
mod json;
pub mod keep;
pub mod ledger;
pub mod record;
pub mod refusal;
pub mod relay;
pub mod request;
mod route;
mod sse;
pub mod usage;

pub use jct_domain::model::{Dialect, Price, Tokens, Usd, budget};

pub use broker::{Broker, Caller, Identity, IdentityError};
pub use ledger::Ledger;
pub use refusal::{Code, Refusal};
pub use relay::Relay;
pub use route::{Call, Route};
