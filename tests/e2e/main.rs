//! JCT end to end, on a real Kubernetes with real workers. `tests/e2e.sh` makes the cluster and runs this.
//!
//! Every test has a namespace of its own and waits for states, never for time. Tests that disturb the installation
//! (stop the operator, remove the webhooks) run [`alone`](jct_e2e::World::alone).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jct_e2e as support;

mod causality;
mod certificates;
mod cli;
mod door;
mod escapes;
mod executors;
mod faults;
mod forges;
mod happy_path;
mod helm_test;
mod hostile_sources;
mod identity;
mod lifecycle;
mod load;
mod lost_record;
mod memory;
mod models;

#[path = "../odd_manifests/mod.rs"]
mod odd_manifests;
mod offline_gate;
mod oidc;
mod outages;
mod pod_security;
mod provenance;
mod rest;
mod retention;
mod rights;
mod start_trouble;
mod uninstall;
mod without_webhooks;
mod work_objects;
