//! The commands of `dbgov`.

pub mod doctor;
