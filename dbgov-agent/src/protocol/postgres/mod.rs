//! PostgreSQL frontend/backend protocol 3.0 and 3.2.

pub mod scan;
pub mod text;
pub mod types;
