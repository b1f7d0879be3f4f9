//! A database client that is gone at once, for tests of who it was: it says its own number in its statement. What it is
//! to do stands in its environment, since its name and its arguments are what is tested.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dbgov_tests::wire::{self, Client};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::unistd::{ForkResult, fork};

/// How long a child goes on with its parent's connection; the test is content much earlier.
const FORKED: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let variable = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    let address: SocketAddr = variable("BRIEF_ADDRESS")?.parse()?;
    match variable("BRIEF_HOW")?.as_str() {
        "return" => speak(&mut TcpStream::connect(address)?),
        "_exit" => {
            speak(&mut TcpStream::connect(address)?)?;
            // SAFETY: ends the process; nothing of it is used afterwards.
            unsafe { libc::_exit(0) }
        }
        "exec" => exec(TcpStream::connect(address)?, &variable("BRIEF_NEXT")?),
        // What `exec` becomes.
        "speak" => {
            let fd = variable("BRIEF_SOCKET")?.parse()?;
            // SAFETY: the descriptor was left open for us alone.
            speak(&mut unsafe { TcpStream::from_raw_fd(fd) })
        }
        "fork" => forked(address),
        other => bail!("BRIEF_HOW={other}?"),
    }
}

fn statement() -> String {
    format!("SELECT 'pid {}'", std::process::id())
}

/// Start-up and statement in one piece; waits for nothing.
fn speak(stream: &mut TcpStream) -> Result<()> {
    let start = wire::startup(&[("user", "postgres"), ("application_name", "brief")]);
    stream.write_all(&[start, wire::query(&statement())].concat())?;
    Ok(())
}

/// Becomes another program once the connection is there.
fn exec(stream: TcpStream, next: &str) -> Result<()> {
    fcntl(&stream, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let error = Command::new(next)
        .arg("after exec")
        .env("BRIEF_HOW", "speak")
        .env("BRIEF_SOCKET", stream.as_raw_fd().to_string())
        .exec();
    Err(error.into())
}

/// Leaves the connection to a child, which goes on with it.
fn forked(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address, "postgres", "postgres", "forked")?;
    client.query(&statement())?;
    // SAFETY: this process has one thread.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        // SAFETY: ends the process without saying good-bye to the server.
        unsafe { libc::_exit(0) }
    }
    let begun = std::time::Instant::now();
    // Until the server is gone.
    while begun.elapsed() < FORKED && client.query(&statement()).is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
