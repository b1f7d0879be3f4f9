//! The end of a connection at the server's socket: SOCK_DESTROY of sock_diag (Linux 4.9, CONFIG_INET_DIAG_DESTROY).
//!
//! The kernel ends the socket as if a RST had come (`tcp_abort`: its owner reads ECONNABORTED) and sends the other end
//! one. A client that was told something first does not take that RST, as its number is too low by then: the injected
//! one is needed beside it.

use std::io;

use crate::capture::netns::{self, NetNs};
use crate::capture::sockdiag;
use crate::gate::inject::Ends;

#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    #[error("cannot enter the server's network namespace: {0}")]
    Enter(io::Error),
    #[error(transparent)]
    SockDiag(#[from] sockdiag::Error),
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    Destroyed,
    /// The connection had ended already; what has its addresses now is another and was left alone.
    Gone,
    /// The kernel was built without.
    Unsupported,
}

/// Ends the connection at the server's socket, which is known by its addresses and its cookie (SO_COOKIE), in the
/// namespace of the calling thread or in another. Needs CAP_NET_ADMIN there.
pub fn destroy(
    namespace: Option<NetNs>,
    ends: Ends,
    cookie: u64,
) -> Result<Destroyed, DestroyError> {
    let work = || sockdiag::destroy(ends.server, ends.client, cookie);
    let outcome = match namespace {
        None => work(),
        Some(namespace) => netns::within(namespace, work).map_err(DestroyError::Enter)?,
    };
    match outcome {
        Ok(()) => Ok(Destroyed::Destroyed),
        Err(sockdiag::Error::Io(error)) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESTALE) => Ok(Destroyed::Gone),
            Some(libc::EOPNOTSUPP) => Ok(Destroyed::Unsupported),
            _ => Err(sockdiag::Error::Io(error).into()),
        },
        Err(error) => Err(error.into()),
    }
}
