//! A real receiver for each kind of sink, and all that it got.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::jetstream::{self, consumer};
use dbgov_tests::receivers::{
    Daemon, Input, NATS_STREAM, NatsSite, Receiver, Rsyslog, Running, SyslogNg, Transport,
};
use dbgov_tests::scratch::Scratch;
use futures_util::StreamExt;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::hunt::Told;

const TOPIC: &str = "audit";
/// The mock answers within milliseconds: so long without a message, there is no more.
const KAFKA_PATIENCE: Duration = Duration::from_millis(500);

/// A receiver in Python that keeps what it gets.
pub(crate) struct Http {
    pub(crate) port: u16,
    kept: PathBuf,
    _running: Running,
}

impl Http {
    /// `kind`: as the receiver over HTTP calls it, or `grpc`.
    fn start(dir: &Path, kind: &str, token: &str) -> Result<Self> {
        let dir = dir.join(kind);
        fs::create_dir(&dir)?;
        let receiver = match kind {
            "grpc" => Receiver::grpc(&dir)?,
            _ => Receiver::http(kind, &dir)?,
        };
        let kept = dir.join("kept");
        let receiver = receiver
            .arg("--token", token)
            .arg("--keep", &kept.display().to_string());
        Ok(Http {
            port: receiver.port,
            kept,
            _running: receiver.start("{}")?,
        })
    }
}

/// What they are to be asked with.
pub(crate) struct Tokens {
    pub(crate) splunk: &'static str,
    pub(crate) elastic: &'static str,
    pub(crate) hook: &'static str,
    pub(crate) otlp: &'static str,
    pub(crate) nats: &'static str,
}

pub(crate) struct Receivers {
    pub(crate) rsyslog: Rsyslog,
    pub(crate) syslog_ng: SyslogNg,
    pub(crate) splunk: Http,
    pub(crate) elastic: Http,
    pub(crate) hook: Http,
    pub(crate) otlp: Http,
    pub(crate) grpc: Http,
    pub(crate) nats: NatsSite,
    _nats: Daemon,
    nats_password: &'static str,
    pub(crate) kafka: MockCluster<'static, DefaultProducerContext>,
    scratch: Scratch,
}

impl Receivers {
    pub(crate) fn start(tokens: &Tokens) -> Result<Self> {
        let scratch = Scratch::new("receiving")?;
        let dir = scratch.path();
        let user = format!(
            "authorization {{ user: dbgov, password: {:?} }}\n",
            tokens.nats
        );
        let nats = NatsSite::new(dir, &user)?;
        let kafka = MockCluster::new(1)?;
        kafka.create_topic(TOPIC, 1, 1)?;
        Ok(Receivers {
            rsyslog: Rsyslog::start(&Input::Tcp)?,
            syslog_ng: SyslogNg::start(&Transport::Tcp)?,
            splunk: Http::start(dir, "splunk", tokens.splunk)?,
            elastic: Http::start(dir, "elasticsearch", tokens.elastic)?,
            hook: Http::start(dir, "webhook", tokens.hook)?,
            otlp: Http::start(dir, "otlp", "")?,
            grpc: Http::start(dir, "grpc", tokens.otlp)?,
            _nats: nats.start()?,
            nats,
            nats_password: tokens.nats,
            kafka,
            scratch,
        })
    }

    /// For sinks that write into files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Bodies and messages, and what messages have beside their bodies; not the headers of HTTP, which carry tokens.
    pub(crate) fn received(&self) -> Result<Vec<Told>> {
        let mut all = vec![
            ("rsyslog".to_owned(), self.rsyslog.received()),
            ("syslog-ng".to_owned(), self.syslog_ng.received()),
            ("nats".to_owned(), self.stored()?),
            ("kafka".to_owned(), self.consumed()?),
        ];
        let kept = [
            ("splunk", &self.splunk),
            ("elasticsearch", &self.elastic),
            ("webhook", &self.hook),
            ("otlp", &self.otlp),
            ("grpc", &self.grpc),
        ];
        for (name, http) in kept {
            let bytes = fs::read(&http.kept).context(name)?;
            all.push((
                name.to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
        Ok(all)
    }

    /// The messages of the stream: subject, headers, body.
    fn stored(&self) -> Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let options = async_nats::ConnectOptions::new()
                .user_and_password("dbgov".to_owned(), self.nats_password.to_owned());
            let client = options
                .connect(format!("127.0.0.1:{}", self.nats.port))
                .await?;
            let mut stream = jetstream::new(client).get_stream(NATS_STREAM).await?;
            let messages = stream.info().await?.state.messages as usize;
            let reader = stream
                .create_consumer(consumer::pull::Config {
                    ack_policy: consumer::AckPolicy::None,
                    ..consumer::pull::Config::default()
                })
                .await?;
            let mut batch = reader.fetch().max_messages(messages).messages().await?;
            let mut text = String::new();
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| anyhow!("{error}"))?;
                let body = String::from_utf8_lossy(&message.payload);
                text += &format!("{} {:?} {body}\n", message.subject, message.headers);
            }
            Ok(text)
        })
    }

    /// The messages of the topic: key, headers, body.
    fn consumed(&self) -> Result<String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap_servers())
            .set("group.id", "reader")
            .create()?;
        let mut partition = rdkafka::TopicPartitionList::new();
        partition.add_partition_offset(TOPIC, 0, rdkafka::Offset::Beginning)?;
        consumer.assign(&partition)?;
        let mut text = String::new();
        let mut patience = Duration::from_secs(10);
        while let Some(message) = consumer.poll(patience) {
            patience = KAFKA_PATIENCE;
            let message = message?;
            let lossy = |bytes: Option<&[u8]>| {
                String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
            };
            text += &lossy(message.key());
            for header in message.headers().into_iter().flat_map(Headers::iter) {
                text += &format!(" {}={}", header.key, lossy(header.value));
            }
            text += &format!(" {}\n", lossy(message.payload()));
        }
        Ok(text)
    }
}
