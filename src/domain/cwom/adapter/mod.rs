//! Task ↔ CWOM (contract section 2).
