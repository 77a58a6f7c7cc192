//! The REST door against a real record and a Kubernetes API server that plays along.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod audit;
mod budget;
mod chromium;
mod cluster;
mod conformance;
mod console;
mod console_browser;
mod console_oidc;
mod console_pages;
mod console_world;
mod cost;
mod cwom;
mod cwom_any;
mod cwom_hostile;
mod cwom_refs;
mod cwom_rights;
mod diagnostics;
mod doors;
mod enqueue;
mod first_clients;
mod frame;
mod mcp;
mod memory;
mod openapi;
mod ran;
mod results;
mod results_followed;
mod results_hostile;
mod retry;
mod reviews;
mod sessions;
mod statistics;
mod tasks;
mod trace;
mod trace_objects;
mod work;
mod world;

// As the program: what it costs is measured here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
