//! The control tower for AI-assisted development work on Kubernetes.
//!
//! A Task is declared, gated, recorded, run by a worker Job, and leaves a trace folder; one trace id is on everything it
//! touched. **Intent lives in etcd, the record in the database, the evidence on a volume.** The status of a custom
//! resource is a projection of the record, never a source.
//!
//! The folders are the stages of that way. What has no client, no clock of its own and no server in it is a crate of its
//! own, in `crates/`, and has its old name here. Two more are the worker's: `jct-executors`, those that are built in, and
//! `jct-untrusted`, what both of them handle a stranger's files and git with.
//!
//! | module | stage |
//! |---|---|
//! | [`domain`] | crate `jct-domain`, the words: Task, CWOM, lifecycle, audit entry, trace manifest. Pure |
//! | [`policy`] | of the same crate, the gate: may it run? Pure |
//! | [`manifest`] | manifests as kubectl reads and the API server checks them. Pure |
//! | [`crd`] | the custom resources |
//! | [`webhook`] | admission: identity stamped, gate asked |
//! | [`reconcile`] | dereference, validate, record, run, observe, status |
//! | [`jobs`] | a validated Task as a Job manifest. Pure |
//! | [`store`] | crate `jct-store`, rows and audit entries; the only user of the database |
//! | [`outcome`] | how an attempt ended: judged by its trace, recorded, signed |
//! | [`trace`] | crate `jct-trace`, the trace volume: prepared, checked, sealed, verified later |
//! | [`shared`] | what webhook, controllers and API share in one process: the clock, denials, limits of namespaces |
//! | [`metrics`] | how each part declares what it counts |
//! | [`serve`] | connections and bodies of both servers, bounded |
//! | [`sessions`] | answers Sessions: a token for who makes one |
//! | [`signing`] | crate `jct-signing`, keys and signatures; here: the operator's keys in a Secret |
//! | [`broker`] | the listener that has the keys of models: who asks, accounts, keys; the rest is crate `jct-model-gateway` |
//! | [`forges`] | the credentials of forges, which are Secrets; what speaks to forges is crate `jct-forges` |
//! | [`worker`] | crate `jct-worker`, inside the Job: source, sandbox, trace. A program of its own, too |
//! | [`api`] | the REST door: Tasks, work objects, the record; health, metrics |
//! | [`console`] | the API in a browser, through the API's own routes |
//! | [`local`] | a Task without a cluster: the same stages, processes in place of a Job |
//! | [`commands`] | the commands for people and scripts |
//! | [`runtime`] | settings, shutdown, telemetry, and the processes put together |
//!
//! Cargo and `tests/tree/architecture.rs` hold the dependency rule: `domain`, `policy` and `jobs` know no client, clock or IO; the
//! database is known to `store` alone, HTTP serving to `serve`, `webhook`, `broker`, `api` and `console` alone.

pub mod api;
pub mod broker;
pub mod checkpoint;
pub mod commands;
pub mod console;
pub mod crd;
pub mod forges;
pub mod jobs;
pub mod local;
pub mod manifest;
pub mod metrics;
pub mod outcome;
pub mod reconcile;
pub mod runtime;
pub mod serve;
pub mod sessions;
pub mod shared;
pub mod signing;
pub mod webhook;

#[doc(no_inline)]
pub use jct_domain as domain;
#[doc(no_inline)]
pub use jct_domain::policy;
#[doc(no_inline)]
pub use jct_store as store;
#[doc(no_inline)]
pub use jct_trace as trace;
#[doc(no_inline)]
pub use jct_worker as worker;
