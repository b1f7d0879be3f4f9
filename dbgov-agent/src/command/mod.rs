//! The commands of `dbgov`, one file each.

pub mod doctor;
pub mod policy;
pub mod replay;
pub mod run;
pub mod status;
pub mod tail;
