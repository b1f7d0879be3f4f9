//! A connection to a receiver, and how it is known that the receiver has read everything.
//!
//! Syslog over TCP has no acknowledgement. A write that succeeds is in the send buffer of this kernel; an acknowledged
//! segment is in the receive buffer of the other; what a receiver has not read when it ends is lost, and nothing of this
//! shows in a write call. What does show is the end: who closes a connection with unread data in its buffer, or is
//! killed, answers with a reset; who has read up to the end closes in order. So the connection is closed here after the
//! last byte and the receiver's own end is waited for: if it comes in order, and this kernel has nothing left that was
//! not acknowledged, the receiver's program has read all of it. (`deliver` then looks whether it stays.)

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::{SyslogConfig, Transport};

/// How often the send buffer is looked at while it has to become empty.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Errors say what could not be done, in the receiver's terms.
    pub(super) async fn connect(config: &SyslogConfig) -> Result<Stream, String> {
        let (host, port) = (config.host.as_str(), config.port);
        let tls = match (config.transport, &config.tls) {
            (Transport::Tls, Some(tls)) => Some(tls.clone()),
            (Transport::Tls, None) => Some(Default::default()),
            _ => None,
        };
        // Before the connection: a file that is missing says so also while the receiver is away.
        let tls = match tls {
            None => None,
            Some(tls) => {
                let client = tls.client().map_err(|error| error.to_string())?;
                let name = tls.server_name(host).map_err(|error| error.to_string())?;
                Some((TlsConnector::from(std::sync::Arc::new(client)), name))
            }
        };
        let tcp = TcpStream::connect((host, port))
            .await
            .map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
        // A batch is one write; its last segment must not wait for an acknowledgement.
        let _ = tcp.set_nodelay(true);
        match tls {
            None => Ok(Stream::Tcp(tcp)),
            Some((connector, name)) => connector
                .connect(name, tcp)
                .await
                .map(|stream| Stream::Tls(Box::new(stream)))
                .map_err(|error| format!("TLS with {host}:{port}: {error}")),
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// The receiver has closed its end, or worse. (It has nothing else to say.)
    pub(super) fn has_ended(&mut self) -> bool {
        let mut buffer = [0; 256];
        match self {
            Stream::Tcp(stream) => ended(stream.read(&mut buffer).now_or_never()),
            Stream::Tls(stream) => ended(stream.read(&mut buffer).now_or_never()),
        }
    }

    /// Waits until the receiver's kernel has everything.
    pub(super) async fn wait_until_sent(&self) -> io::Result<()> {
        let tcp = self.tcp();
        while unsent_bytes(tcp.as_fd())? > 0 {
            error_of(tcp)?;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        error_of(tcp)
    }

    /// Closes the connection and waits until the receiver has read everything.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        match &mut self {
            Stream::Tcp(stream) => end(stream).await?,
            Stream::Tls(stream) => end(&mut **stream).await?,
        }
        // Its end may have come before it had ours: then what it did not want is still here, or answered by a reset.
        self.wait_until_sent().await
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

fn ended(read: Option<io::Result<usize>>) -> bool {
    matches!(read, Some(Ok(0) | Err(_)))
}

async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Closed in order, but without TLS's own farewell, which few receivers send.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn error_of(tcp: &TcpStream) -> io::Result<()> {
    match tcp.take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

nix::ioctl_read_bad!(
    /// tcp(7): SIOCOUTQ, the bytes in the send buffer that are not acknowledged; the end of the stream counts for one.
    unacknowledged,
    libc::TIOCOUTQ,
    libc::c_int
);

fn unsent_bytes(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes one int, and the descriptor is open.
    unsafe { unacknowledged(socket.as_raw_fd(), &mut bytes) }?;
    Ok(u32::try_from(bytes).unwrap_or_default())
}
