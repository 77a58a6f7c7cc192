//! JCT for agents: the [Model Context Protocol](https://modelcontextprotocol.io) over the REST API.
//!
//! A tool is one or a few requests to the REST API, made as the caller: what they may do is asked there, and nowhere else. So no
//! tool can do what its caller may not, and what the API records is recorded. There is no tool that reviews, raises a budget,
//! releases or retries: those are decisions of people.
//!
//! A [`RestClient`] reaches the API: in the same process for `/mcp`, over a port-forward for `kubectl jct mcp`.

#![warn(missing_docs)] // other crates use it

mod advice;
mod client;
mod resources;
mod rest_client;
mod server;
mod tools;

pub use client::{CLIENT_HEADER, SESSION_HEADER, claimed, session_id};
pub use rest_client::{ApiRequest, ApiResponse, RestClient};
pub use server::{Server, http, stdio};
