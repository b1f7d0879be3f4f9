//! OpenTelemetry's protocol for logs, OTLP 1 (opentelemetry.io/docs/specs/otlp), over gRPC and over HTTP.
//!
//! ```text
//! config       its keys
//! attributes   what a record says -> semantic conventions
//! value        JSON -> AnyValue
//! request      records -> one request
//! grpc         ... over gRPC
//! http         ... over HTTP
//! status       answers -> what to do
//! ```

mod attributes;
mod config;
mod grpc;
mod http;
mod request;
mod status;
mod value;

pub use self::config::OtlpConfig;
use self::config::Protocol;
use self::grpc::Grpc;
use self::http::Http;
use self::request::Requests;
use super::parts::{self, Answer};
use super::progress::Progress;
use super::{Deliver, DeliverError, Format, Item};

#[derive(Debug)]
pub struct Otlp {
    sender: Sender,
    progress: Progress,
}

#[derive(Debug)]
struct Sender {
    requests: Requests,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

impl Otlp {
    /// `node`: the resource's `host.name`.
    pub fn new(config: &OtlpConfig, format: Format, node: &str) -> Self {
        let transport = match config.protocol {
            Protocol::Grpc => Transport::Grpc(Box::new(Grpc::new(&config.http))),
            Protocol::Http => Transport::Http(Box::new(Http::new(&config.http))),
        };
        Otlp {
            sender: Sender {
                requests: Requests::new(config, format, node),
                transport,
            },
            progress: Progress::default(),
        }
    }
}

impl Deliver for Otlp {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        parts::deliver(&mut self.progress, batch, &mut self.sender).await
    }
}

impl parts::Send for Sender {
    async fn send(&mut self, items: &[&Item]) -> Answer {
        let request = self.requests.request(items);
        match &mut self.transport {
            Transport::Grpc(grpc) => grpc.send(request, items.len()).await,
            Transport::Http(http) => http.send(request, items.len()).await,
        }
    }
}
