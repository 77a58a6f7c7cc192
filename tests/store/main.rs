//! The contract of the record (contract sections 4 and 5), run on every database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod checkpoints;
mod console;
mod contents;
mod deletions;
mod denials;
mod faults;
mod harness;
mod json_codes;
mod ledger;
mod lifecycle;
mod limits;
mod maintenance;
mod migration;
mod object_identity;
mod objects;
mod one_record;
mod outbox;
mod postgres;
mod reading;
mod recording;
mod replay;
mod retention;
mod reviews;
mod size;
mod spec_changes;
mod statistics;
mod upgrade;
mod writer;
