//! Connections whose client's process ends before they do: the socket was handed to another process, or shared by a
//! fork. The host is asked about connections that are in use.

use std::sync::Arc;

use super::Pipeline;
use crate::identity::Process;
use crate::protocol::TimeNs;

/// Connections asked about at a time, which is once a second: each may take a look into /proc of 20 µs.
const CLIENTS_MAX: usize = 512;

/// A connection and the process that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Of the server's socket.
    pub cookie: u64,
    pub pid: u32,
    pub started_ns: TimeNs,
}

impl Pipeline {
    /// Clients of connections that were in use since this was last asked. Of more than [`CLIENTS_MAX`] those that follow
    /// the last ones; the others have their turn while they stay in use.
    pub fn active_clients(&mut self) -> Vec<Client> {
        let (since, after) = self.looked;
        let mut latest = since;
        let mut clients: Vec<Client> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.last_at > since && !connection.client_is_done())
            .filter_map(|(&cookie, connection)| {
                latest = latest.max(connection.last_at);
                let session = &connection.session;
                let client = session.client.as_ref()?;
                (!session.is_client_ended()).then_some(Client {
                    cookie,
                    pid: client.pid,
                    started_ns: client.started_ns?,
                })
            })
            .collect();
        clients.sort_unstable_by_key(|client| client.cookie.wrapping_sub(after + 1));
        clients.truncate(CLIENTS_MAX);
        self.looked = (latest, clients.last().map_or(after, |last| last.cookie));
        clients
    }

    /// The process that opened the connection has ended, and the connection has not.
    pub fn client_ended(&mut self, cookie: u64, holder: Option<Arc<Process>>) {
        if let Some(connection) = self.connections.get_mut(&cookie)
            && !connection.client_is_done()
        {
            connection.session.set_client_ended(holder);
        }
    }
}
