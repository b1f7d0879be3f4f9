//! UDP: a message a datagram, and nobody who says whether it arrived.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};

use super::config::SyslogConfig;
use super::message::Messages;
use crate::sink::deliver::{DeliverError, Item};

/// After so many bytes a breath is taken: receivers have buffers of some 200 KB, which a hundred
/// messages fill, and what does not fit is gone.
const BURST_BYTES: usize = 32 << 10;
const BREATH: Duration = Duration::from_millis(2);

#[derive(Debug, Default)]
pub(super) struct Datagrams {
    socket: Option<UdpSocket>,
    message: Vec<u8>,
}

impl Datagrams {
    pub(super) async fn send(
        &mut self,
        config: &SyslogConfig,
        messages: &Messages,
        batch: &[Item],
    ) -> Result<(), DeliverError> {
        // Taken out: after an error the name is looked up again.
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect(config).await?,
        };
        let mut burst = 0;
        for item in batch {
            messages.write(item, &mut self.message);
            // Connection refused: nobody listened to the datagram before.
            socket.send(&self.message).await.map_err(|error| {
                DeliverError::retry(format!(
                    "cannot send to {}:{}: {error}",
                    config.host, config.port
                ))
            })?;
            burst += self.message.len();
            if burst >= BURST_BYTES {
                burst = 0;
                tokio::time::sleep(BREATH).await;
            }
        }
        self.socket = Some(socket);
        Ok(())
    }
}

async fn connect(config: &SyslogConfig) -> Result<UdpSocket, DeliverError> {
    let (host, port) = (config.host.as_str(), config.port);
    let failed = |what: &str, error: std::io::Error| {
        DeliverError::retry(format!("cannot {what} {host}:{port}: {error}"))
    };
    let address = lookup_host((host, port))
        .await
        .map_err(|error| failed("look up", error))?
        .next();
    let Some(address) = address else {
        return Err(DeliverError::retry(format!("{host} has no address")));
    };
    let any = match address.is_ipv4() {
        true => (Ipv4Addr::UNSPECIFIED, 0).into(),
        false => std::net::SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)
        .await
        .map_err(|error| failed("make a socket for", error))?;
    socket
        .connect(address)
        .await
        .map_err(|error| failed("reach", error))?;
    Ok(socket)
}
