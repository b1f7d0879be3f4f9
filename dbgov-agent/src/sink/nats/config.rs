//! The keys of a NATS JetStream sink.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::connection;
use super::subject::Template;
use crate::sink::config::Secret;
use crate::sink::scrub::Scrub;
use crate::sink::tls::TlsConfig;

/// Messages under way at once. Each is a record in memory twice, here and on its way.
const IN_FLIGHT_MAX: usize = 256;
const IN_FLIGHT_LIMIT: usize = 4096;
/// How long a stream that this sink makes remembers ids. Longer than most outages of a server; what is sent again after
/// more than this is stored twice.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);

/// Of a stream: what JetStream has.
const REPLICAS: std::ops::RangeInclusive<usize> = 1..=5;

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct NatsConfig {
    pub(super) servers: Vec<String>,
    pub(super) tls: Option<TlsConfig>,
    pub(super) auth: Option<NatsAuth>,
    pub(super) subject: Template,
    /// Records go to no other stream.
    pub(super) stream: Option<String>,
    pub(super) create: Option<CreateStream>,
    pub(super) in_flight_max: usize,
    pub(super) order: Order,
}

#[derive(Debug, Clone)]
pub(super) enum NatsAuth {
    /// A file with a JSON Web Token and the seed of its key, as `nsc` makes it.
    Credentials(PathBuf),
    /// The seed of an NKey.
    Nkey(Secret),
    User {
        user: String,
        password: Secret,
    },
    Token(Secret),
}

impl NatsAuth {
    /// The keys it was given in.
    pub(super) fn keys(&self) -> &'static str {
        match self {
            NatsAuth::Credentials(_) => "credentials",
            NatsAuth::Nkey(_) => "nkey_secret",
            NatsAuth::User { .. } => "user and password",
            NatsAuth::Token(_) => "token",
        }
    }
}

/// What holds of the order of a session's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// Each waits for the acknowledgement of the one before.
    #[default]
    Session,
    /// As a rule; a server that refuses one record and takes the next (a change of the leader) changes it. Faster where
    /// a session's records come by the thousand and the server is far away.
    None,
}

/// The stream is made where there is none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateStream {
    /// 0: no limit.
    #[serde(default)]
    pub(super) bytes_max: i64,
    /// 0: no limit.
    #[serde(default)]
    pub(super) age_days_max: u32,
    #[serde(default = "one")]
    pub(super) replicas: usize,
    #[serde(default = "duplicate_window_s")]
    pub(super) duplicate_window_s: u64,
}

fn one() -> usize {
    1
}

fn duplicate_window_s() -> u64 {
    DUPLICATE_WINDOW.as_secs()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    servers: Vec<String>,
    tls: Option<TlsConfig>,
    credentials: Option<PathBuf>,
    nkey_secret: Option<Secret>,
    user: Option<String>,
    password: Option<Secret>,
    token: Option<Secret>,
    #[serde(default)]
    subject: Template,
    stream: Option<String>,
    create_stream: Option<CreateStream>,
    in_flight_max: Option<usize>,
    #[serde(default)]
    order: Order,
}

impl TryFrom<Written> for NatsConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.servers.is_empty() {
            return Err(
                "servers is empty: give one or more, such as \"nats://nats.example:4222\""
                    .to_owned(),
            );
        }
        for server in &written.servers {
            // The text is not repeated: there may be a password in it.
            if server.contains('@') {
                return Err("servers: give user, password or token in keys of their own".to_owned());
            }
            let address: async_nats::ServerAddr = server.parse().map_err(|error| {
                format!("servers: {error}; give one such as \"nats://nats.example:4222\"")
            })?;
            if !matches!(address.scheme(), "nats" | "tls") {
                return Err("servers: give those that begin with nats:// or tls://".to_owned());
            }
        }
        let has_name = written
            .tls
            .as_ref()
            .is_some_and(|tls| tls.server_name.is_some());
        if has_name {
            return Err(
                "tls.server_name is not for this kind: write that name into servers".to_owned(),
            );
        }
        let auth = match (
            written.credentials,
            written.nkey_secret,
            (written.user, written.password),
            written.token,
        ) {
            (None, None, (None, None), None) => None,
            (Some(path), None, (None, None), None) => Some(NatsAuth::Credentials(path)),
            (None, Some(seed), (None, None), None) => Some(NatsAuth::Nkey(seed)),
            (None, None, (Some(user), Some(password)), None) => {
                Some(NatsAuth::User { user, password })
            }
            (None, None, (None, None), Some(token)) => Some(NatsAuth::Token(token)),
            _ => {
                return Err(
                    "give one of credentials, nkey_secret, user and password, token".to_owned(),
                );
            }
        };
        if written.create_stream.is_some() && written.stream.is_none() {
            return Err("create_stream needs stream, the name".to_owned());
        }
        if let Some(create) = &written.create_stream {
            create.check()?;
        }
        let in_flight_max = written.in_flight_max.unwrap_or(IN_FLIGHT_MAX);
        if !(1..=IN_FLIGHT_LIMIT).contains(&in_flight_max) {
            return Err(format!(
                "in_flight_max = {in_flight_max}: give 1 to {IN_FLIGHT_LIMIT}"
            ));
        }
        Ok(NatsConfig {
            servers: written.servers,
            tls: written.tls,
            auth,
            subject: written.subject,
            stream: written.stream,
            create: written.create_stream,
            in_flight_max,
            order: written.order,
        })
    }
}

impl CreateStream {
    fn check(&self) -> Result<(), String> {
        if self.bytes_max < 0 {
            return Err("create_stream.bytes_max: give 0 (no limit) or more".to_owned());
        }
        if !REPLICAS.contains(&self.replicas) {
            let (least, most) = REPLICAS.into_inner();
            return Err(format!("create_stream.replicas: give {least} to {most}"));
        }
        Ok(())
    }
}

impl NatsConfig {
    /// What can be seen without a server.
    pub fn check(&self) -> Result<(), String> {
        connection::check(self).map_err(|error| error.to_string())
    }

    /// What a server knows of this sink, and may repeat.
    pub(super) fn scrub(&self) -> Scrub {
        let mut scrub = Scrub::default();
        let secret = match &self.auth {
            Some(NatsAuth::Nkey(secret) | NatsAuth::Token(secret)) => Some(secret),
            Some(NatsAuth::User { password, .. }) => Some(password),
            Some(NatsAuth::Credentials(_)) | None => None,
        };
        if let Some(secret) = secret.and_then(|secret| secret.read().ok()) {
            scrub.hide(secret.expose_secret());
        }
        scrub
    }

    pub fn for_each_path(&mut self, visit: &mut dyn FnMut(&mut PathBuf)) {
        if let Some(tls) = &mut self.tls {
            tls.for_each_path(visit);
        }
        let path = match &mut self.auth {
            None => None,
            Some(NatsAuth::Credentials(path)) => Some(path),
            Some(NatsAuth::Nkey(secret) | NatsAuth::Token(secret)) => secret.path_mut(),
            Some(NatsAuth::User { password, .. }) => password.path_mut(),
        };
        if let Some(path) = path {
            visit(path);
        }
    }
}
