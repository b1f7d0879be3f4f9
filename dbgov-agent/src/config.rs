//! `dbgov.toml`. Everything has a default; an unknown key is an error, since a setting that is not understood must
//! never read as one that is in force.

mod kubernetes;
mod network;
mod redact;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

pub use self::kubernetes::{Enabled, KubernetesConfig};
use self::network::NetworkConfig;
pub use self::redact::RedactionConfig;
use crate::capture::kernel::{PACKET_RING_BYTES_MAX, PACKET_RING_BYTES_MIN};
use crate::glob::Glob;
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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Name of this host in the records; default: its hostname.
    pub node: Option<String>,
    pub control_socket: PathBuf,
    /// Where programs and maps are pinned while a policy is enforced.
    pub bpffs: PathBuf,
    /// Where metrics are served, `ADDRESS:PORT`; empty for nowhere.
    listen: String,
}

impl Default for AgentConfig {
    fn default() -> Self {
        AgentConfig {
            node: None,
            control_socket: "/run/dbgov/control.sock".into(),
            bpffs: "/sys/fs/bpf/dbgov".into(),
            listen: "127.0.0.1:9188".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Also govern every database server found on the host, beside the configured ones.
    pub discover: bool,
    /// Bytes of the kernel's ring buffer, a power of two. A statement up to this size is safe from loss even when the
    /// agent gets no processor while it arrives.
    pub ring_bytes: u32,
    /// Statements are kept whole up to so many bytes.
    pub statement_bytes_max: usize,
    /// Of each parameter.
    pub param_bytes_max: usize,
    /// Debug lines of the kernel programs in the agent's log.
    pub kernel_debug: bool,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        CaptureConfig {
            discover: false,
            ring_bytes: dbgov_common::PACKET_RING_BYTES_DEFAULT,
            statement_bytes_max: 1 << 20,
            param_bytes_max: 4 << 10,
            kernel_debug: false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// The cgroup below which `dbgov exec` makes those of its runs.
    pub cgroup: String,
    /// Record the arguments of clients' processes. There may be secrets in them.
    pub command_lines: bool,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        IdentityConfig {
            cgroup: "/dbgov".to_owned(),
            command_lines: true,
        }
    }
}

/// Lets users run something under a tag (`dbgov exec`). Root may do so under any.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRule {
    /// The tags.
    pub names: Vec<NameGlob>,
    /// UNIX users, by name ...
    #[serde(default)]
    pub users: Vec<String>,
    /// ... or as members of UNIX groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Tags whose processes may exchange theirs for one of `names`. Without, who has a tag keeps it.
    #[serde(default)]
    pub from: Vec<NameGlob>,
}

/// A pattern of tags' names.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct NameGlob(pub Glob);

impl TryFrom<String> for NameGlob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let glob = Glob::new(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(NameGlob(glob))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// The policy file. In the file of the configuration, relative to its directory.
    pub file: PathBuf,
    #[serde(default)]
    pub mode: PolicyMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    #[default]
    Enforce,
    /// Verdicts are recorded, nothing is held.
    Observe,
}

impl PolicyMode {
    /// As in the record (`verdict.mode`).
    pub fn name(self) -> &'static str {
        match self {
            PolicyMode::Enforce => "enforce",
            PolicyMode::Observe => "observe",
        }
    }
}

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

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    pub dir: PathBuf,
    /// A segment of the journal is closed at this size.
    pub segment_bytes_max: u64,
    /// Records wait at most so long for the disk, milliseconds ...
    pub flush_interval_ms: u64,
    /// ... and at most so many.
    pub flush_records_max: u32,
    /// Slow clients down rather than lose records of what they sent.
    pub lossless: bool,
    /// What signs the journal; made at the first start. Default: beside `dir`, with `.key` behind its name.
    pub key: Option<PathBuf>,
    /// A checkpoint is signed after so many records ...
    pub checkpoint_records: u32,
    /// ... and so long after the first that is in none, milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Segments that are complete are compressed.
    pub compress: bool,
    pub retention: RetentionConfig,
}

/// When the oldest segments of the journal are removed. Without `bytes_max` and `days_max`: never.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Of all segments together, as they lie on the disk; 0: no bound.
    pub bytes_max: u64,
    /// Records are kept so many days; 0: for ever.
    pub days_max: u32,
    /// Whatever not every sink has stays.
    pub keep_undelivered: bool,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        RetentionConfig {
            bytes_max: 0,
            days_max: 0,
            keep_undelivered: true,
        }
    }
}

impl AuditConfig {
    /// Where the journal's key lies.
    pub fn key_path(&self) -> PathBuf {
        self.key.clone().unwrap_or_else(|| {
            let mut path = self.dir.components().as_path().as_os_str().to_owned();
            path.push(".key");
            path.into()
        })
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        use crate::audit::journal;
        AuditConfig {
            dir: "/var/lib/dbgov/audit".into(),
            segment_bytes_max: journal::SEGMENT_BYTES_MAX,
            flush_interval_ms: journal::FLUSH_INTERVAL.as_millis() as u64,
            flush_records_max: journal::FLUSH_RECORDS_MAX,
            lossless: false,
            key: None,
            checkpoint_records: journal::CHECKPOINT_RECORDS,
            checkpoint_interval_ms: journal::CHECKPOINT_INTERVAL.as_millis() as u64,
            compress: true,
            retention: RetentionConfig::default(),
        }
    }
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
        let listen = &self.agent.listen;
        if !listen.is_empty() && self.listen().is_none() {
            return Some(format!(
                "[agent] listen = {listen:?}: give an address and a port, such as \"127.0.0.1:9188\" or \"[::1]:9188\", or \"\" to serve no metrics"
            ));
        }
        let file = self.policy.as_ref().map(|policy| &policy.file);
        if file.is_some_and(|file| file.as_os_str().is_empty()) {
            return Some("[policy] file is empty: give the path of the policy".to_owned());
        }
        let root = &self.identity.cgroup;
        if !root.starts_with('/') || root.trim_matches('/').is_empty() || root.contains("..") {
            return Some(format!(
                "[identity] cgroup = {root:?}: give a path below the root of the cgroup v2 hierarchy, such as \"/dbgov\""
            ));
        }
        if let Some(rule) = self.exec.iter().find(|rule| rule.names.is_empty()) {
            return Some(format!(
                "[[exec]] names is empty (users {:?}): give the tags they may run something under, such as \"agent:*\"",
                rule.users
            ));
        }
        if let Some(rule) = self
            .exec
            .iter()
            .find(|rule| rule.users.is_empty() && rule.groups.is_empty())
        {
            let names: Vec<&str> = rule.names.iter().map(|name| name.0.text()).collect();
            return Some(format!(
                "[[exec]] for {names:?} lets nobody: give `users` or `groups`"
            ));
        }
        let ring = self.capture.ring_bytes;
        if !ring.is_power_of_two()
            || !(PACKET_RING_BYTES_MIN..=PACKET_RING_BYTES_MAX).contains(&ring)
        {
            return Some(format!(
                "[capture] ring_bytes = {ring}: give a power of two from {PACKET_RING_BYTES_MIN} to {PACKET_RING_BYTES_MAX}"
            ));
        }
        if self.servers.iter().any(|server| server.port == 0) {
            return Some("[[server]] port = 0: give the port the database listens on".to_owned());
        }
        if self.capture.statement_bytes_max == 0 || self.capture.statement_bytes_max > 64 << 20 {
            return Some("[capture] statement_bytes_max: give 1 to 67108864 (64 MiB)".to_owned());
        }
        if self.audit.segment_bytes_max < 1 << 16 {
            return Some("[audit] segment_bytes_max: give 65536 or more".to_owned());
        }
        let most = crate::audit::journal::CHECKPOINT_RECORDS_MAX;
        if !(1..=most).contains(&self.audit.checkpoint_records) {
            return Some(format!("[audit] checkpoint_records: give 1 to {most}"));
        }
        if self.audit.checkpoint_interval_ms == 0 {
            return Some("[audit] checkpoint_interval_ms: give 1 or more".to_owned());
        }
        let bytes_max = self.audit.retention.bytes_max;
        if bytes_max != 0 && bytes_max < self.audit.segment_bytes_max {
            return Some(format!(
                "[audit.retention] bytes_max = {bytes_max}: give 0 (keep all) or at least what one segment may take ([audit] segment_bytes_max, {})",
                self.audit.segment_bytes_max
            ));
        }
        if self.audit.key_path().starts_with(&self.audit.dir) {
            return Some(format!(
                "[audit] key lies in the directory of the journal, which is copied as evidence: give a place outside {}",
                self.audit.dir.display()
            ));
        }
        if self.audit.flush_records_max == 0 {
            return Some("[audit] flush_records_max: give 1 or more".to_owned());
        }
        None
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
        self.agent.listen.parse().ok()
    }

    pub fn node(&self) -> String {
        self.agent.node.clone().unwrap_or_else(hostname)
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

pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("dbgov.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.ports(), [5432]);
        assert!(config.discovers());
        assert_eq!(config.audit.dir, Path::new("/var/lib/dbgov/audit"));
    }

    #[test]
    fn configured_servers_are_the_only_ones_unless_discovery_is_asked_for() {
        let config =
            parse("[[server]]\nport = 6000\n[[server]]\nprotocol = \"postgresql\"\nport = 6001")
                .unwrap();
        assert_eq!(config.ports(), [6000, 6001]);
        assert!(!config.discovers());
        assert!(
            parse("[capture]\ndiscover = true\n[[server]]\nport = 6000")
                .unwrap()
                .discovers()
        );
    }

    #[test]
    fn the_policy_lies_beside_the_configuration() {
        let config = |text| Config::parse(text, Path::new("/etc/dbgov/dbgov.toml")).unwrap();
        let policy = config("[policy]\nfile = \"policy.toml\"").policy.unwrap();
        assert_eq!(policy.file, Path::new("/etc/dbgov/policy.toml"));
        assert_eq!(policy.mode, PolicyMode::Enforce);
        let policy = config("[policy]\nfile = \"/p.toml\"\nmode = \"observe\"")
            .policy
            .unwrap();
        assert_eq!(policy.file, Path::new("/p.toml"));
        assert_eq!(policy.mode, PolicyMode::Observe);
        assert!(config("").policy.is_none());
        assert!(config("[audit]\nlossless = true").audit.lossless);
    }

    #[test]
    fn the_key_lies_beside_the_journal() {
        let key = |text| parse(text).unwrap().audit.key_path();
        assert_eq!(key(""), Path::new("/var/lib/dbgov/audit.key"));
        assert_eq!(key("[audit]\ndir = \"/j/\""), Path::new("/j.key"));
        assert_eq!(key("[audit]\nkey = \"/k\""), Path::new("/k"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expected) in [
            ("[audit]\ndri = \"/x\"", "line 2, column 1"),
            (
                "[audit]\ndri = \"/x\"",
                "unknown field `dri`, expected one of `dir`",
            ),
            ("[[server]]\nport = 70000", "line 2, column 8"),
            ("[[server]]\nport = 0", "give the port"),
            (
                "[[server]]\nprotocol = \"oracle\"\nport = 1",
                "unknown variant `oracle`, expected `postgresql`",
            ),
            ("[policy]\nmode = \"enforce\"", "missing field `file`"),
            ("[policy]\nfile = \"\"", "[policy] file is empty"),
            (
                "[policy]\nfile = \"p\"\nmode = \"watch\"",
                "unknown variant `watch`, expected `enforce` or `observe`",
            ),
            (
                "[agent]\nlisten = \"localhost\"",
                "give an address and a port",
            ),
            (
                "[agent]\nlisten = \"127.0.0.1\"",
                "give an address and a port",
            ),
            ("[capture]\nring_bytes = 5000000", "power of two"),
            ("[identity]\ncgroup = \"/\"", "[identity] cgroup"),
            ("[identity]\ncgroup = \"/a/../b\"", "[identity] cgroup"),
            ("[[exec]]\nnames = [\"a{b}\"]", "line 2, column 9"),
            ("[[exec]]\nnames = [\"a\"]", "lets nobody"),
            ("[[exec]]\nnames = []\nusers = [\"u\"]", "names is empty"),
            ("[[exec]]\nusers = [\"u\"]", "missing field `names`"),
            ("[[tag]]\nname = \"a b\"\nunit = \"x\"", "line 2, column 8"),
            (
                "[audit]\ncheckpoint_records = 0",
                "[audit] checkpoint_records",
            ),
            (
                "[audit]\ncheckpoint_records = 1000000",
                "[audit] checkpoint_records",
            ),
            (
                "[audit]\ncheckpoint_interval_ms = 0",
                "checkpoint_interval_ms",
            ),
            (
                "[audit.retention]\nbytes_max = 1000",
                "at least what one segment",
            ),
            ("[audit]\ndir = \"/j\"\nkey = \"/j/key\"", "outside /j"),
            ("[agent", "line 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
