//! The live statements on stdout, off the journal's thread: a terminal that stands still must not hold up the audit.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use jiff::tz::TimeZone;

use crate::audit::journal::Observer;
use crate::audit::live::Renderer;

/// Batches of lines that may wait for the terminal, a quarter of a megabyte each at the most (the journal's
/// `FLUSH_BYTES_MAX` and one line); beyond, lines are left out of the display (never of the journal) and the display says
/// how many.
const BATCHES_MAX: usize = 16;

/// What `run` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Readable on a terminal, JSON elsewhere.
    Live,
    None,
}

impl Display {
    /// Starts the display; gives what the journal is to call with its lines.
    pub(super) fn start(self) -> std::io::Result<Option<Observer>> {
        if self == Display::None {
            return Ok(None);
        }
        let (sender, batches) = sync_channel::<Vec<u8>>(BATCHES_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left_out);
        std::thread::Builder::new()
            .name("display".to_owned())
            .spawn(move || show(&batches, &left_out))?;
        Ok(Some(Box::new(move |lines| {
            if sender.try_send(lines.to_vec()).is_err() {
                counter.fetch_add(each(lines).count() as u64, Ordering::Relaxed);
            }
        })))
    }
}

/// A renderer for this process's stdout; none where it is not a terminal.
pub fn terminal() -> Option<Renderer> {
    let stdout = std::io::stdout();
    stdout.is_terminal().then(|| Renderer {
        color: std::env::var_os("NO_COLOR").is_none(),
        width_columns: terminal_columns(),
        zone: TimeZone::system(),
    })
}

nix::ioctl_read_bad!(
    /// Columns and rows of a terminal (tty_ioctl(4)).
    window_size,
    libc::TIOCGWINSZ,
    libc::winsize
);

fn terminal_columns() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one winsize.
    unsafe { window_size(libc::STDOUT_FILENO, &mut size) }.ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

fn show(batches: &Receiver<Vec<u8>>, left_out: &AtomicU64) {
    let renderer = terminal();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    loop {
        // Whoever reads a pipe gets whole batches; flushed as soon as nothing waits.
        let lines = match batches.try_recv() {
            Ok(lines) => lines,
            Err(_) => {
                if out.flush().is_err() {
                    return;
                }
                match batches.recv() {
                    Ok(lines) => lines,
                    Err(_) => return,
                }
            }
        };
        let left_out = left_out.swap(0, Ordering::Relaxed);
        let written = match &renderer {
            Some(renderer) => {
                if left_out > 0 {
                    let _ = writeln!(
                        out,
                        "... {left_out} records not shown (they are in the journal)"
                    );
                }
                each(&lines)
                    .filter_map(|line| renderer.render(line))
                    .try_for_each(|line| writeln!(out, "{line}"))
            }
            None => {
                if left_out > 0 {
                    tracing::warn!(
                        left_out,
                        "stdout is too slow: records are left out of it (they are in the journal)"
                    );
                }
                out.write_all(&lines)
            }
        };
        // stdout is closed: nobody looks any more. The audit goes on.
        if written.is_err() {
            return;
        }
    }
}

fn each(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n')
}
