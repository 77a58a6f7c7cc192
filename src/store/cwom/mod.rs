//! The record of work objects (contract section 2): one table for each kind, one row for each link, one audit entry for
//! each change.

mod model;

pub use model::{
    DeleteObject, ObjectField, ObjectFilter, ObjectOrigin, ObjectRow, PatchObject, Patched, Put, PutObject, RefProblem,
    Unique, Unresolved,
};
