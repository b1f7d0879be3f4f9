//! The commands of `dbgov`, one file each.

pub mod doctor;
pub mod gate;
pub mod replay;
pub mod run;
pub mod status;
pub mod tail;
