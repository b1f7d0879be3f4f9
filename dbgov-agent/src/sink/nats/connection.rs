//! A connection to a server, and the stream. It never comes back by itself: what was under way when it broke is sent
//! again in order, over a new one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{Context, context::ContextBuilder, stream};
use async_nats::{ConnectErrorKind, ConnectOptions, Event};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use super::config::{NatsAuth, NatsConfig};
use crate::sink::config::SecretError;
use crate::sink::http::client::chain;
use crate::sink::scrub::Scrub;
use crate::sink::tls::TlsError;
use crate::sink::{DeliverError, MISCONFIGURED_RETRY};

/// A server that does not answer within this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A message that is not acknowledged within this was lost: servers answer within milliseconds, clusters that elect a
/// leader within a second or two.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a dead peer is noticed where nothing is sent.
const PING_INTERVAL: Duration = Duration::from_secs(20);

pub(super) struct Connection {
    pub(super) context: Context,
    lost: watch::Receiver<bool>,
    /// What the server said last, where it said anything.
    said: Arc<Mutex<Option<String>>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("credentials: {0}")]
    Credentials(std::io::Error),
    #[error(
        "nkey_secret is no seed of a user's key: that has {SEED_CHARS} characters and begins with SU"
    )]
    Seed,
}

/// The seed of a key in base32: two bytes of prefix, 32 of the seed, two of a checksum.
const SEED_CHARS: usize = 58;

/// Reads all files that a connection will need.
pub(super) fn check(config: &NatsConfig) -> Result<(), SetupError> {
    options(config).map(|_| ())
}

impl Connection {
    pub(super) async fn open(config: &NatsConfig, node: &str) -> Result<Self, DeliverError> {
        let misconfigured = |what: String| DeliverError::Retry {
            what,
            after: Some(MISCONFIGURED_RETRY),
        };
        let options = options(config).map_err(|error| misconfigured(error.to_string()))?;
        let (tell, lost) = watch::channel(false);
        let said = Arc::new(Mutex::new(None));
        let heard = said.clone();
        let scrub = config.scrub();
        let options = options.event_callback(move |event| {
            hear(&event, &scrub, &tell, &heard);
            async {}
        });
        let client =
            options
                .connect(config.servers.as_slice())
                .await
                .map_err(|error| match error.kind() {
                    ConnectErrorKind::AuthorizationViolation => {
                        misconfigured(refused(config.auth.as_ref()))
                    }
                    ConnectErrorKind::Authentication
                    | ConnectErrorKind::Tls
                    | ConnectErrorKind::ServerParse => misconfigured(chain(&error)),
                    _ => DeliverError::retry(chain(&error)),
                })?;
        let context = ContextBuilder::new()
            .timeout(ACKNOWLEDGE_TIMEOUT)
            .ack_timeout(ACKNOWLEDGE_TIMEOUT)
            .max_ack_inflight(config.in_flight_max)
            .build(client);
        let connection = Connection {
            context,
            lost,
            said,
        };
        connection.make_stream(config, node).await?;
        Ok(connection)
    }

    async fn make_stream(&self, config: &NatsConfig, node: &str) -> Result<(), DeliverError> {
        let (Some(create), Some(name)) = (&config.create, &config.stream) else {
            return Ok(());
        };
        let day = Duration::from_secs(24 * 3600);
        let wanted = stream::Config {
            name: name.clone(),
            subjects: vec![config.subject.pattern(node)],
            max_bytes: create.bytes_max,
            max_age: day * create.age_days_max,
            num_replicas: create.replicas,
            duplicate_window: Duration::from_secs(create.duplicate_window_s),
            // What is full refuses new records, which wait here, rather than lose old ones.
            discard: stream::DiscardPolicy::New,
            ..stream::Config::default()
        };
        match self.context.get_or_create_stream(wanted).await {
            Ok(_) => Ok(()),
            Err(error) => Err(DeliverError::retry(format!(
                "cannot make the stream {name}: {}",
                chain(&error)
            ))),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !*self.lost.borrow()
    }

    /// Returns when the connection is gone.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error: the client itself is gone.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    pub(super) fn why(&self) -> String {
        self.said()
            .unwrap_or_else(|| "the connection broke".to_owned())
    }

    /// A server says that it does not allow something, but not as the answer to it.
    pub(super) fn why_silent(&self) -> String {
        match self.said() {
            None => "no acknowledgement in time".to_owned(),
            Some(said) => format!("no acknowledgement in time; {said}"),
        }
    }

    fn said(&self) -> Option<String> {
        self.said.lock().ok()?.clone()
    }
}

/// What the server says itself is no more than "authorization violation".
fn refused(auth: Option<&NatsAuth>) -> String {
    const WHAT: &str = "authorization violation: the server";
    match auth {
        Some(auth) => format!("{WHAT} does not take {} as configured here", auth.keys()),
        None => format!(
            "{WHAT} wants to know who this is: give credentials, nkey_secret, user and password, or token, or tls.certificate"
        ),
    }
}

fn hear(event: &Event, scrub: &Scrub, lost: &watch::Sender<bool>, said: &Mutex<Option<String>>) {
    tracing::debug!(event = scrub.text(&event.to_string()), "NATS");
    match event {
        Event::Disconnected | Event::Closed | Event::ClientError(_) => {
            let _ = lost.send(true);
        }
        Event::ServerError(error) => {
            if let Ok(mut said) = said.lock() {
                *said = Some(format!("the server said: {error}"));
            }
        }
        _ => {}
    }
}

fn options(config: &NatsConfig) -> Result<ConnectOptions, SetupError> {
    let mut options = ConnectOptions::new()
        .name("dbgov")
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(ACKNOWLEDGE_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        // Only servers of the configuration get the credentials.
        .ignore_discovered_servers()
        // Each server once: the next batch connects anew.
        .max_reconnects(config.servers.len());
    options = match &config.auth {
        None => options,
        Some(NatsAuth::Credentials(path)) => {
            let text = std::fs::read_to_string(path).map_err(SetupError::Credentials)?;
            options
                .credentials(&text)
                .map_err(SetupError::Credentials)?
        }
        Some(NatsAuth::Nkey(seed)) => {
            let seed = seed.read()?;
            let seed = seed.expose_secret().trim();
            match seed.starts_with("SU") && seed.len() == SEED_CHARS {
                true => options.nkey(seed.to_owned()),
                false => return Err(SetupError::Seed),
            }
        }
        Some(NatsAuth::User { user, password }) => {
            options.user_and_password(user.clone(), password.read()?.expose_secret().to_owned())
        }
        Some(NatsAuth::Token(token)) => options.token(token.read()?.expose_secret().to_owned()),
    };
    if let Some(tls) = &config.tls {
        options = options.require_tls(true).tls_client_config(tls.client()?);
    }
    Ok(options)
}
