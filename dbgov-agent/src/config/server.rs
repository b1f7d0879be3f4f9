//! `[[server]]`: the database servers that are governed.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ServerProtocol {
    Postgresql,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    #[serde(default = "postgresql")]
    pub protocol: ServerProtocol,
    /// In whatever network namespace of the host.
    pub port: u16,
}

fn postgresql() -> ServerProtocol {
    ServerProtocol::Postgresql
}

pub(super) fn problem(servers: &[ServerConfig]) -> Option<String> {
    if servers.iter().any(|server| server.port == 0) {
        return Some("[[server]] port = 0: give the port the database listens on".to_owned());
    }
    None
}
