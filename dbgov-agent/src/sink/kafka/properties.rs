//! Configuration of librdkafka (its CONFIGURATION.md): what this sink rests on, and what an administrator may set.

use rdkafka::ClientConfig;
use secrecy::ExposeSecret;

use super::config::KafkaConfig;
use crate::sink::config::SecretError;
use crate::sink::tls::TlsConfig;

/// What is in librdkafka's queue besides this sink's own batch, KiB. Its own default is a gigabyte.
const QUEUE_KIB_MAX: &str = "16384";
/// A record holds a statement of up to a megabyte and what is around it; brokers' own default is a little more than
/// 1 MB (`message.max.bytes`) and refuses the longer ones.
const MESSAGE_BYTES_MAX: &str = "1000000";

/// What may be set beside the sink's own keys. Not here: what order and delivery rest on (`enable.idempotence`, `acks`,
/// `retries`, `message.timeout.ms`), what loads code (`plugin.library.paths`, `ssl.engine.location`, `ssl.providers`),
/// what shows secrets or verifies less (`debug`, `enable.ssl.certificate.verification`), and passwords in the open.
const ALLOWED: &[&str] = &[
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.level",
    "connections.max.idle.ms",
    "linger.ms",
    "message.max.bytes",
    "metadata.max.age.ms",
    "metadata.recovery.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "topic.metadata.refresh.interval.ms",
];

pub(super) fn check(name: &str) -> Result<(), String> {
    match ALLOWED.contains(&name) {
        true => Ok(()),
        false => Err(format!(
            "properties: {name:?} cannot be set here; what can: {}",
            ALLOWED.join(", ")
        )),
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("librdkafka: {0}")]
    Client(String),
}

/// Reads secrets as they are now.
pub(super) fn client_config(config: &KafkaConfig) -> Result<ClientConfig, SetupError> {
    let mut set = ClientConfig::new();
    set.set("bootstrap.servers", config.brokers.join(","))
        .set("client.id", "dbgov")
        .set("compression.type", config.compression.name())
        .set("queue.buffering.max.kbytes", QUEUE_KIB_MAX)
        .set("message.max.bytes", MESSAGE_BYTES_MAX)
        // Records of one session stay in one partition, as Java's clients would put them there.
        .set("partitioner", "murmur2_random")
        // Batches come as a whole: there is nothing to wait for.
        .set("linger.ms", "2")
        .set("allow.auto.create.topics", "false");
    for (name, value) in &config.properties {
        set.set(name, value);
    }
    set.set("enable.idempotence", "true")
        .set("acks", "all")
        // Tried for ever, in order: a record that timed out would have others of its session behind it in the topic.
        .set("message.timeout.ms", "0")
        .set("statistics.interval.ms", "0")
        // Errors of connections come once more as global errors, which the status shows.
        .set("log.connection.close", "false");
    set.set("security.protocol", protocol(config));
    if let Some(tls) = &config.tls {
        set_tls(tls, &mut set);
    }
    if let Some(sasl) = &config.sasl {
        set.set("sasl.mechanism", sasl.mechanism.name())
            .set("sasl.username", &sasl.user)
            .set("sasl.password", sasl.password.read()?.expose_secret());
    }
    Ok(set)
}

fn protocol(config: &KafkaConfig) -> &'static str {
    match (config.tls.is_some(), config.sasl.is_some()) {
        (false, false) => "plaintext",
        (false, true) => "sasl_plaintext",
        (true, false) => "ssl",
        (true, true) => "sasl_ssl",
    }
}

fn set_tls(tls: &TlsConfig, set: &mut ClientConfig) {
    for (name, path) in [
        ("ssl.ca.location", &tls.ca),
        ("ssl.certificate.location", &tls.certificate),
        ("ssl.key.location", &tls.key),
    ] {
        if let Some(path) = path {
            set.set(name, path.display().to_string());
        }
    }
    if tls.ca.is_none() {
        // OpenSSL is linked in, and would look where it was built.
        set.set("ssl.ca.location", "probe");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_delivery_rests_on_cannot_be_set() {
        for name in [
            "enable.idempotence",
            "acks",
            "request.required.acks",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "retries",
            "max.in.flight",
            "bootstrap.servers",
            "plugin.library.paths",
            "ssl.engine.location",
            "ssl.providers",
            "enable.ssl.certificate.verification",
            "ssl.key.password",
            "sasl.password",
            "debug",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    fn kafka(keys: &str) -> KafkaConfig {
        toml::from_str(&format!(
            "brokers = [\"a:1\", \"b\"]\ntopic = \"t\"\n{keys}"
        ))
        .unwrap()
    }

    const SASL: &str = "user = \"u\"\npassword = \"hunter2\"\nsasl_mechanism = ";

    #[test]
    fn what_is_encrypted_and_who_this_is() {
        let plain = format!("{SASL}\"PLAIN\"");
        let scram = format!("{SASL}\"SCRAM-SHA-512\"\ntls = {{}}");
        for (keys, expected) in [
            ("", &[("security.protocol", "plaintext")][..]),
            (
                "tls = { ca = \"/ca\", certificate = \"/c\", key = \"/k\" }",
                &[
                    ("security.protocol", "ssl"),
                    ("ssl.ca.location", "/ca"),
                    ("ssl.certificate.location", "/c"),
                    ("ssl.key.location", "/k"),
                ],
            ),
            (
                &plain,
                &[
                    ("security.protocol", "sasl_plaintext"),
                    ("sasl.mechanism", "PLAIN"),
                    ("sasl.username", "u"),
                    ("sasl.password", "hunter2"),
                ],
            ),
            (
                &scram,
                &[
                    ("security.protocol", "sasl_ssl"),
                    ("ssl.ca.location", "probe"),
                    ("sasl.mechanism", "SCRAM-SHA-512"),
                ],
            ),
        ] {
            let config = client_config(&kafka(keys)).unwrap();
            let given = config.config_map();
            for (name, value) in expected {
                assert_eq!(config.get(name), Some(*value), "{keys}");
            }
            let has = |start| given.keys().any(|name| name.starts_with(start));
            assert_eq!(has("ssl."), keys.contains("tls"), "{keys}: {given:?}");
            assert_eq!(has("sasl."), keys.contains("sasl"), "{keys}");
        }
    }

    /// librdkafka has the mechanisms and the encryption that the sink offers: a client is made, not only its settings.
    #[test]
    fn a_client_is_made_of_every_mechanism() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            for tls in ["", "\ntls = {}"] {
                let config = client_config(&kafka(&format!("{SASL}{mechanism:?}{tls}"))).unwrap();
                let made = config.create::<rdkafka::producer::BaseProducer>();
                assert!(made.is_ok(), "{mechanism}{tls}: {:?}", made.err());
            }
        }
    }

    #[test]
    fn all_that_may_be_set_is_known_to_librdkafka() {
        for name in ALLOWED {
            let mut config = ClientConfig::new();
            config.set(*name, "\u{1}no such value");
            let text = match config.create::<rdkafka::producer::BaseProducer>() {
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            assert!(!text.contains("No such configuration property"), "{text}");
        }
    }
}
