//! The commands of `dbgov`, one file each.

pub mod approvals;
pub mod doctor;
pub mod exec;
pub mod gate;
pub mod policy;
pub mod replay;
pub mod report;
pub mod run;
pub mod search;
pub mod status;
mod table;
pub mod tag;
pub mod tail;
pub mod verify;

use std::io::{self, Write};

/// All of a command's answer. A reader that has gone (`| head`) is the end, not an error.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
