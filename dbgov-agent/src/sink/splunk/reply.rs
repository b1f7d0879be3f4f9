//! HEC's own codes (help.splunk.com: "Troubleshoot HTTP Event Collector", possible error codes) -> what to do.

use std::collections::HashMap;

use serde::Deserialize;

use crate::sink::http::answer;
use crate::sink::http::{Client, Reply};
use crate::sink::parts::Answer;

#[derive(Deserialize)]
struct Body {
    code: Option<u32>,
    /// A number; some versions and receivers of other makers write it as a text.
    #[serde(rename = "ackId")]
    ack_id: Option<Number>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Is(u64),
    Reads(String),
}

impl Number {
    fn value(&self) -> Option<u64> {
        match self {
            Number::Is(number) => Some(*number),
            Number::Reads(text) => text.parse().ok(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    Taken { ack_id: Option<u64> },
    Not(Answer),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum AckReply {
    /// Whether the events are written.
    Known(bool),
    Not(Answer),
}

pub(super) fn posted(client: &Client, reply: &Reply) -> Posted {
    let body: Option<Body> = serde_json::from_slice(&reply.body).ok();
    if reply.status.is_success() {
        let ack_id = body.and_then(|body| body.ack_id).and_then(|id| id.value());
        return Posted::Taken { ack_id };
    }
    Posted::Not(failed(client, reply, body.and_then(|body| body.code)))
}

pub(super) fn ack(client: &Client, reply: &Reply, ack_id: u64) -> AckReply {
    #[derive(Deserialize)]
    struct Acks {
        acks: HashMap<String, bool>,
    }
    if reply.status.is_success() {
        return match serde_json::from_slice::<Acks>(&reply.body) {
            Ok(Acks { acks }) => {
                AckReply::Known(acks.get(&ack_id.to_string()).copied().unwrap_or(false))
            }
            Err(_) => AckReply::Not(Answer::misconfigured(format!(
                "{}; that is no answer of an acknowledging collector",
                client.describe(reply)
            ))),
        };
    }
    let body: Option<Body> = serde_json::from_slice(&reply.body).ok();
    // A question has no records that could be at fault.
    AckReply::Not(match failed(client, reply, body.and_then(|b| b.code)) {
        Answer::Divide(what) => Answer::misconfigured(what),
        other => other,
    })
}

fn failed(client: &Client, reply: &Reply, code: Option<u32>) -> Answer {
    let what = || client.describe(reply);
    match code {
        // Acknowledgement is disabled.
        Some(14) => Answer::misconfigured(no_acknowledgement(client)),
        // Token disabled, required, not valid; authorization not valid; incorrect index; channel missing, not valid;
        // query string authorization.
        Some(1..=4 | 7 | 10 | 11 | 16) => Answer::misconfigured(what()),
        // No data; format not valid; event missing, blank; indexed fields.
        Some(5 | 6 | 12 | 13 | 15) => Answer::Divide(what()),
        // Internal error; busy; queues full; shutting down; out of capacity.
        Some(8 | 9 | 18..=20 | 23..=26) => Answer::Later {
            what: what(),
            after: reply.retry_after,
        },
        _ => answer::by_status(client, reply),
    }
}

pub(super) fn no_acknowledgement(client: &Client) -> String {
    format!(
        "{}: the token has no indexer acknowledgement; enable it there, or set acknowledge = false, which may lose \
         what the collector has only in memory",
        client.host()
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::StatusCode;

    use super::*;
    use crate::sink::MISCONFIGURED_RETRY;
    use crate::sink::http::test_client;

    fn client() -> Client {
        test_client("http://splunk:8088")
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: Some(Duration::from_secs(3)),
            body: body.into(),
            cut: false,
        }
    }

    #[test]
    fn taken_with_and_without_a_number() {
        let posted = |body| posted(&client(), &reply(200, body));
        let taken = |ack_id| Posted::Taken { ack_id };
        assert_eq!(
            posted(r#"{"text":"Success","code":0,"ackId":12}"#),
            taken(Some(12))
        );
        assert_eq!(posted(r#"{"ackId":"7"}"#), taken(Some(7)));
        assert_eq!(posted(r#"{"text":"Success","code":0}"#), taken(None));
        assert_eq!(posted("OK"), taken(None));
    }

    #[test]
    fn every_code_of_the_collector_has_its_meaning() {
        enum Is {
            Divide,
            Later,
            Misconfigured,
        }
        for (status, code, expected) in [
            (403, 1, Is::Misconfigured),
            (401, 2, Is::Misconfigured),
            (401, 3, Is::Misconfigured),
            (403, 4, Is::Misconfigured),
            (400, 5, Is::Divide),
            (400, 6, Is::Divide),
            (400, 7, Is::Misconfigured),
            (500, 8, Is::Later),
            (503, 9, Is::Later),
            (400, 10, Is::Misconfigured),
            (400, 11, Is::Misconfigured),
            (400, 12, Is::Divide),
            (400, 13, Is::Divide),
            (400, 14, Is::Misconfigured),
            (400, 15, Is::Divide),
            (503, 23, Is::Later),
            (413, 27, Is::Divide),
            (404, 404, Is::Misconfigured),
        ] {
            let body = format!(r#"{{"text":"words","code":{code}}}"#);
            let Posted::Not(answer) = posted(&client(), &reply(status, &body)) else {
                panic!("code {code} is no success");
            };
            match (&answer, expected) {
                (Answer::Divide(_), Is::Divide) => {}
                (Answer::Later { after, .. }, Is::Later) => {
                    assert_eq!(*after, Some(Duration::from_secs(3)))
                }
                (Answer::Later { after, .. }, Is::Misconfigured) => {
                    assert_eq!(*after, Some(MISCONFIGURED_RETRY))
                }
                _ => panic!("code {code}: {answer:?}"),
            }
        }
    }

    #[test]
    fn an_acknowledgement_is_read_by_its_number() {
        let ack = |status, body| ack(&client(), &reply(status, body), 5);
        assert_eq!(
            ack(200, r#"{"acks":{"5":true,"6":false}}"#),
            AckReply::Known(true)
        );
        assert_eq!(ack(200, r#"{"acks":{"5":false}}"#), AckReply::Known(false));
        assert_eq!(ack(200, r#"{"acks":{"4":true}}"#), AckReply::Known(false));
        for (status, body, words) in [
            (200, "<html>", "no answer of an acknowledging collector"),
            (
                400,
                r#"{"text":"ACK is disabled","code":14}"#,
                "acknowledge = false",
            ),
            (
                400,
                r#"{"text":"Invalid data format","code":6}"#,
                "Invalid data format",
            ),
        ] {
            let AckReply::Not(Answer::Later { what, after }) = ack(status, body) else {
                panic!("{body}");
            };
            assert!(what.contains(words), "{what}");
            assert_eq!(after, Some(MISCONFIGURED_RETRY));
        }
    }
}
