//! Models for executors that have no network and no key.
//!
//! ```text
//! executor ─ socket proxy ─▶ relay ─ TLS ─▶ broker ─ TLS ─▶ provider
//!            (jct-socket-proxy)   beside it, has     has the keys, the budgets
//!                                 an identity        and the record
//! ```
//!
//! Contract: section "Models". Nothing here knows of Kubernetes, of a database or of TLS: who an attempt is ([`Identity`]), who
//! keeps its accounts ([`Ledger`]) and how a provider is reached (a connector of hyper-util's) the caller says.
//!
//! What is pure: which paths, headers and requests are let through ([`Route`], [`headers`], [`request`]), how an answer's usage
//! is read ([`usage`]), what it costs ([`price`]), what budgets allow ([`budget`]), what is recorded ([`record`]).

#![warn(missing_docs)] // other crates use it

pub mod body;
pub mod broker;
pub mod budget;
pub mod catalog;
pub mod connect;
mod dialect;
pub mod headers;
mod json;
pub mod ledger;
pub mod price;
pub mod record;
pub mod refusal;
pub mod relay;
pub mod request;
mod route;
mod sse;
pub mod usage;

pub use broker::{Broker, Caller, Identity, IdentityError};
pub use dialect::Dialect;
pub use ledger::Ledger;
pub use price::{Price, Usd};
pub use refusal::{Code, Refusal};
pub use relay::Relay;
pub use route::{Call, Route};
pub use usage::Tokens;
