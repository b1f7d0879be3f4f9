//! Record -> hash-chained journal on disk.

pub mod record;
