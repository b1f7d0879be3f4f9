//! Journal -> SIEM. A sink reads the journal on its own, from its own durable place, so that a receiver that is slow or
//! away for days costs nobody else anything.
//!
//! ```text
//! encode     a record as the receiver wants it: native, OCSF, ECS, CEF, LEEF
//! deliver    what every kind of sink can do: hand over a batch, or say why not
//! ```

pub mod deliver;
pub mod encode;

pub use deliver::{Deliver, DeliverError, Item};
pub use encode::Format;
