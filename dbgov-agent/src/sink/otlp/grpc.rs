//! Requests over gRPC.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use secrecy::ExposeSecret;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::config::SetupError;
use super::status;
use crate::sink::http::HttpConfig;
use crate::sink::http::client::{REPLY_BYTES_MAX, chain};
use crate::sink::parts::Answer;
use crate::sink::scrub::Scrub;

/// A collector that cannot be reached within this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead peer is noticed after these two.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Grpc {
    config: HttpConfig,
    /// None: to be made anew, with certificates and tokens as they are then.
    connected: Option<Connected>,
}

struct Connected {
    client: LogsServiceClient<Channel>,
    metadata: MetadataMap,
    scrub: Scrub,
}

impl std::fmt::Debug for Grpc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grpc")
            .field("config", &self.config)
            .finish()
    }
}

impl Grpc {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Grpc {
            config: config.clone(),
            connected: None,
        }
    }

    pub(super) async fn send(
        &mut self,
        request: ExportLogsServiceRequest,
        records: usize,
    ) -> Answer {
        let mut connected = match self.connected.take() {
            Some(connected) => connected,
            None => match self.connect().await {
                Ok(connected) => connected,
                Err(answer) => return answer,
            },
        };
        let mut request = tonic::Request::new(request);
        *request.metadata_mut() = connected.metadata.clone();
        match connected.client.export(request).await {
            Ok(response) => {
                let partial = response.into_inner().partial_success;
                let answer = status::succeeded(partial, records, &connected.scrub);
                self.connected = Some(connected);
                answer
            }
            Err(failed) => {
                let said = connected.scrub.excerpt(failed.message());
                let what = format!(
                    "{} answered {:?}: {said}",
                    self.config.host(),
                    failed.code()
                );
                match failed.source() {
                    // Not from the collector: the connection broke.
                    Some(cause) => {
                        let cause = connected.scrub.text(&chain(cause));
                        Answer::later(format!("{what}: {cause}"))
                    }
                    None => status::failed(failed.code(), what, failed.details()),
                }
            }
        }
    }

    async fn connect(&self) -> Result<Connected, Answer> {
        let setup = |error: SetupError| Answer::misconfigured(error.to_string());
        let endpoint = endpoint(&self.config).map_err(setup)?;
        let metadata = metadata(&self.config).map_err(setup)?;
        let scrub = self.config.scrub().map_err(|error| setup(error.into()))?;
        let channel = endpoint.connect().await.map_err(|error| {
            let cause = scrub.text(&chain(&error));
            Answer::later(format!("{}: {cause}", self.config.host()))
        })?;
        let mut client = LogsServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
        if self.config.gzip() {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        Ok(Connected {
            client,
            metadata,
            scrub,
        })
    }
}

/// Whether what a connection needs can be read.
pub(super) fn check(config: &HttpConfig) -> Result<(), SetupError> {
    endpoint(config)?;
    metadata(config)?;
    Ok(())
}

fn endpoint(config: &HttpConfig) -> Result<Endpoint, SetupError> {
    let wrong = |error: tonic::transport::Error| SetupError::Endpoint(chain(&error));
    let endpoint = Endpoint::from_shared(config.url().to_string())
        .map_err(wrong)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .tcp_nodelay(true);
    let Some(tls) = config.tls() else {
        return Ok(endpoint);
    };
    // Names the key that is wrong, which tonic does not.
    tls.client()
        .map_err(crate::sink::http::config::ConnectError::from)?;
    let mut client = ClientTlsConfig::new();
    client = match &tls.ca {
        Some(path) => client.ca_certificate(Certificate::from_pem(read(path)?)),
        None => client.with_native_roots(),
    };
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        client = client.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    endpoint.tls_config(client).map_err(wrong)
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|source| SetupError::File {
        path: path.to_owned(),
        source,
    })
}

fn metadata(config: &HttpConfig) -> Result<MetadataMap, SetupError> {
    let mut metadata = MetadataMap::new();
    for (name, secret) in config.headers()? {
        let wrong = || SetupError::Metadata(name.to_string());
        let key: AsciiMetadataKey = name.as_str().parse().map_err(|_| wrong())?;
        let mut value: AsciiMetadataValue = secret.expose_secret().parse().map_err(|_| wrong())?;
        value.set_sensitive(true);
        metadata.insert(key, value);
    }
    Ok(metadata)
}
