//! Requests over HTTP (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP").

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use reqwest::header::HeaderMap;

use super::status::{self, RpcStatus};
use crate::sink::http::client::{Client, REPLY_BYTES_MAX, Reply};
use crate::sink::http::{Connection, HttpConfig, answer};
use crate::sink::parts::Answer;

/// Where the URL of the configuration has no path of its own.
const PATH: &str = "v1/logs";

#[derive(Debug)]
pub(super) struct Http {
    connection: Connection,
}

impl Http {
    pub(super) fn new(config: &HttpConfig) -> Self {
        Http {
            connection: Connection::new(config),
        }
    }

    pub(super) async fn send(
        &mut self,
        request: ExportLogsServiceRequest,
        records: usize,
    ) -> Answer {
        let client = match self.connection.ready() {
            Ok(client) => client,
            Err(answer) => return answer,
        };
        let url = match client.url().path() {
            "" | "/" => client.below(PATH),
            _ => client.url().clone(),
        };
        let body = request.encode_to_vec();
        let reply = client.post(
            url,
            "application/x-protobuf",
            body,
            HeaderMap::new(),
            REPLY_BYTES_MAX,
        );
        let answer = match reply.await {
            Ok(reply) => judge(&client, reply, records),
            Err(what) => Answer::later(what),
        };
        self.connection.heed(answer)
    }
}

fn judge(client: &Client, mut reply: Reply, records: usize) -> Answer {
    if reply.status.is_success() {
        // An empty body is a response without anything to say.
        return match ExportLogsServiceResponse::decode(reply.body.as_slice()) {
            Ok(response) => status::succeeded(response.partial_success, records, client.scrub()),
            Err(_) => Answer::misconfigured(format!(
                "{}; that is no answer of a collector",
                client.describe(&reply)
            )),
        };
    }
    if let Ok(status) = RpcStatus::decode(reply.body.as_slice()) {
        reply.body = status.message.into_bytes();
    }
    answer::by_status(client, &reply)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::sink::http::test_client;

    fn judged(status: u16, body: Vec<u8>) -> Answer {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body,
            cut: false,
        };
        judge(&test_client("http://h:4318"), reply, 2)
    }

    #[test]
    fn answers_are_protocol_buffers() {
        assert_eq!(judged(200, Vec::new()), Answer::Taken);
        assert!(matches!(
            judged(200, b"<html>".to_vec()),
            Answer::Later { after: Some(_), .. }
        ));
        let error = RpcStatus {
            code: 3,
            message: "no such field".to_owned(),
            details: Vec::new(),
        };
        let Answer::Divide(what) = judged(400, error.encode_to_vec()) else {
            panic!("400 is about the records");
        };
        assert!(what.ends_with("no such field"), "{what}");
        assert!(matches!(
            judged(503, Vec::new()),
            Answer::Later { after: None, .. }
        ));
    }
}
