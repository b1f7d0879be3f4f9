//! `dbgov.toml`. Everything has a default; an unknown key is an error, since a setting that is not understood must
//! never read as one that is in force. A file for each section; of `[[tag]]` and `[[sink]]` those who do what they say
//! have it.

mod agent;
mod audit;
mod capture;
mod exec;
mod identity;
mod kubernetes;
mod network;
mod policy;
mod redact;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

pub use self::agent::{AgentConfig, hostname};
pub use self::audit::{AuditConfig, RetentionConfig};
pub use self::capture::CaptureConfig;
pub use self::exec::{ExecRule, NameGlob};
pub use self::identity::IdentityConfig;
pub use self::kubernetes::{Enabled, KubernetesConfig};
use self::network::NetworkConfig;
pub use self::policy::{PolicyConfig, PolicyMode};
pub use self::redact::RedactionConfig;
pub use self::server::{ServerConfig, ServerProtocol};
use crate::identity::networks::Networks;
use crate::identity::tags::TagRule;
use crate::policy::Problem;
use crate::redact::RedactRule;
use crate::sink::config::{self as sink, SinkConfig};

/// Where the configuration is looked for when `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/dbgov/dbgov.toml";
/// PostgreSQL's registered port, governed in every network namespace when no `[[server]]` is configured.
pub const POSTGRESQL_PORT: u16 = 5432;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "cannot read the configuration {path}: {source}; give another with --config FILE, or leave it out for the defaults"
    )]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    // toml's message shows line, column and the line itself.
    #[error("{path}: {source}")]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("{path}: {what}")]
    Value { path: PathBuf, what: String },
    #[error("{path}: {problem}")]
    At { path: PathBuf, problem: Problem },
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub agent: AgentConfig,
    pub capture: CaptureConfig,
    pub identity: IdentityConfig,
    pub kubernetes: KubernetesConfig,
    #[serde(rename = "network")]
    network_sections: Vec<NetworkConfig>,
    /// Made of `[[network]]`.
    #[serde(skip)]
    pub networks: Arc<Networks>,
    /// Names for cgroups that come and go.
    #[serde(rename = "tag")]
    pub tags: Vec<TagRule>,
    /// Who may run what under which tags.
    pub exec: Vec<ExecRule>,
    #[serde(rename = "server")]
    pub servers: Vec<ServerConfig>,
    pub audit: AuditConfig,
    /// What of statements the records keep; the first that is for one decides.
    #[serde(rename = "redact")]
    redact_sections: Vec<toml::Spanned<RedactRule>>,
    pub redaction: RedactionConfig,
    /// None: everything is allowed, and no record has a verdict.
    pub policy: Option<PolicyConfig>,
    #[serde(rename = "sink", deserialize_with = "sink_sections")]
    sink_sections: Vec<sink::Section>,
    /// Made of `[[sink]]`.
    #[serde(skip)]
    pub sinks: Vec<SinkConfig>,
}

impl Config {
    /// The file named by the user, or the default one where it exists, or the defaults.
    pub fn load(path: Option<&Path>) -> Result<(Config, Option<PathBuf>), ConfigError> {
        let default = Path::new(DEFAULT_PATH);
        let path = match path {
            Some(path) => path,
            None if default.exists() => default,
            None => return Ok((Config::default(), None)),
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok((Config::parse(&text, path)?, Some(path.to_owned())))
    }

    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config =
            toml::from_str(text).map_err(|error| parse_error(text, path, error))?;
        if let Some(what) = config.problem() {
            return Err(ConfigError::Value {
                path: path.to_owned(),
                what,
            });
        }
        let networks = network::networks(&config.network_sections);
        config.networks = Arc::new(networks.map_err(|mistake| ConfigError::At {
            path: path.to_owned(),
            problem: Problem::new(text, mistake.span, mistake.what),
        })?);
        redact::check(&config.redact_sections).map_err(|mistake| ConfigError::At {
            path: path.to_owned(),
            problem: Problem::new(text, mistake.span, mistake.what),
        })?;
        let sections = std::mem::take(&mut config.sink_sections);
        let directory = path.parent().unwrap_or(Path::new(""));
        config.sinks = sink::sinks(sections, directory).map_err(|mistake| {
            let problem = Problem::new(text, mistake.span, mistake.what);
            ConfigError::At {
                path: path.to_owned(),
                problem: match mistake.secret {
                    true => problem.without_source(),
                    false => problem,
                },
            }
        })?;
        if let Some(directory) = path.parent() {
            if let Some(key_file) = &mut config.redaction.key_file {
                *key_file = directory.join(&*key_file);
            }
            if let Some(policy) = &mut config.policy {
                policy.file = directory.join(&policy.file);
            }
            if let Some(key) = &mut config.audit.key {
                *key = directory.join(&*key);
            }
            if let Some(kubeconfig) = &mut config.kubernetes.kubeconfig {
                *kubeconfig = directory.join(&*kubeconfig);
            }
        }
        Ok(config)
    }

    fn problem(&self) -> Option<String> {
        let policy = self.policy.as_ref();
        self.agent
            .problem()
            .or_else(|| policy.and_then(PolicyConfig::problem))
            .or_else(|| self.identity.problem())
            .or_else(|| exec::problem(&self.exec))
            .or_else(|| self.capture.problem())
            .or_else(|| server::problem(&self.servers))
            .or_else(|| self.audit.problem())
    }

    /// Ports governed in every network namespace.
    pub fn ports(&self) -> Vec<u16> {
        if self.servers.is_empty() {
            return vec![POSTGRESQL_PORT];
        }
        self.servers.iter().map(|server| server.port).collect()
    }

    /// Whether servers found on the host are governed too.
    pub fn discovers(&self) -> bool {
        self.servers.is_empty() || self.capture.discover
    }

    /// Where metrics are served.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.agent.listen()
    }

    pub fn node(&self) -> String {
        self.agent.node()
    }
}

/// toml's message shows the line, which must not be where there may be a secret in it.
fn parse_error(text: &str, path: &Path, error: toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or_default();
    let start = text[..span.start.min(text.len())]
        .rfind('\n')
        .map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    match sink::may_show_secret(line) {
        true => ConfigError::At {
            path: path.to_owned(),
            problem: Problem::new(text, span, error.message().to_owned()).without_source(),
        },
        false => ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(error),
        },
    }
}

fn sink_sections<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<sink::Section>, D::Error> {
    Vec::deserialize(deserializer).map_err(|error| {
        serde::de::Error::custom(format!("{error}; write [[sink]] above each sink"))
    })
}

#[cfg(test)]
mod tests;
