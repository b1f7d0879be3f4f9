//! Answers to single records -> what to do.

use serde::Deserialize;

use crate::sink::MISCONFIGURED_RETRY;
use crate::sink::http::answer::{self, Meaning};
use crate::sink::http::{Client, Reply};
use crate::sink::parts::{Answer, Each};

#[derive(Deserialize)]
struct Body {
    errors: bool,
    #[serde(default)]
    items: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(alias = "index")]
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    error: Option<Reason>,
}

#[derive(Deserialize, Default)]
struct Reason {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
}

/// What becomes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Created,
    Known,
    Again,
    /// As long as nobody changes something there.
    Blocked,
    Refused,
}

/// `records`: how many were sent.
pub(super) fn answer(client: &Client, reply: &Reply, records: usize) -> Answer {
    if !reply.status.is_success() {
        return answer::by_status(client, reply);
    }
    if reply.cut {
        return Answer::Divide("the answer is too long".to_owned());
    }
    let Ok(body) = serde_json::from_slice::<Body>(&reply.body) else {
        return Answer::misconfigured(format!(
            "{}; that is no answer of a bulk interface",
            client.describe(reply)
        ));
    };
    if !body.errors {
        return Answer::Taken;
    }
    if body.items.len() != records {
        return Answer::later(format!(
            "{} answered for {} of {records} records",
            client.host(),
            body.items.len()
        ));
    }
    each(client, body.items)
}

fn each(client: &Client, outcomes: Vec<Outcome>) -> Answer {
    let mut each = Each::default();
    for (at, Outcome { create }) in outcomes.into_iter().enumerate() {
        let error = create.error.unwrap_or_default();
        let words = || {
            let said = format!("{}: {}", error.kind, error.reason);
            format!("{} {}", create.status, client.scrub().excerpt(&said))
        };
        match fate(create.status, &error.kind) {
            Fate::Created => {}
            Fate::Known => each.known += 1,
            Fate::Refused => each.refused.push((at, words())),
            fate @ (Fate::Again | Fate::Blocked) => {
                if each.again.is_empty() {
                    each.what = words();
                }
                if fate == Fate::Blocked {
                    each.after = Some(MISCONFIGURED_RETRY);
                }
                each.again.push(at);
            }
        }
    }
    if !each.again.is_empty() {
        each.what = format!("{} records not taken: {}", each.again.len(), each.what);
    }
    Answer::Each(each)
}

fn fate(status: u16, error: &str) -> Fate {
    match (status, error) {
        (200..=299, _) => Fate::Created,
        // The id is there: an earlier attempt's answer was lost.
        (409, _) => Fate::Known,
        // The record does not fit the mapping.
        (
            400,
            "mapper_parsing_exception"
            | "document_parsing_exception"
            | "strict_dynamic_mapping_exception"
            | "parse_exception"
            | "parsing_exception",
        ) => Fate::Refused,
        (413, _) => Fate::Refused,
        // What else is not valid is the index, the pipeline, the data stream: the next record would fare no better.
        (400, _) => Fate::Blocked,
        (status, _) => match reqwest::StatusCode::from_u16(status).map(answer::meaning) {
            Ok(Meaning::Later) => Fate::Again,
            // No such index, no right to it, a disk that is full (403, cluster_block_exception).
            _ => Fate::Blocked,
        },
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::sink::http::test_client;

    fn answer_to(status: u16, body: &str, records: usize) -> Answer {
        let client = test_client("http://es:9200");
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: body.into(),
            cut: false,
        };
        answer(&client, &reply, records)
    }

    #[test]
    fn the_whole_was_taken_or_not() {
        assert_eq!(
            answer_to(
                200,
                r#"{"errors":false,"items":[{"create":{"status":201}}]}"#,
                1
            ),
            Answer::Taken
        );
        assert!(matches!(
            answer_to(429, "", 1),
            Answer::Later { after: None, .. }
        ));
        assert!(matches!(answer_to(413, "", 1), Answer::Divide(_)));
        assert!(matches!(
            answer_to(401, "", 1),
            Answer::Later {
                after: Some(MISCONFIGURED_RETRY),
                ..
            }
        ));
        assert!(matches!(
            answer_to(200, "<html>", 1),
            Answer::Later { after: Some(_), .. }
        ));
        // An answer for fewer records than were sent says nothing about the others.
        let short = r#"{"errors":true,"items":[{"create":{"status":201}}]}"#;
        assert!(matches!(answer_to(200, short, 2), Answer::Later { .. }));
    }

    #[test]
    fn single_records_are_told_apart() {
        let body = r#"{"errors":true,"items":[
            {"create":{"status":201}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"queue full"}}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse [a]"}}},
            {"create":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"no shard"}}}]}"#;
        let Answer::Each(each) = answer_to(200, body, 5) else {
            panic!("not each for itself");
        };
        assert_eq!(each.known, 1);
        assert_eq!(each.again, [2, 4]);
        assert_eq!(each.after, None);
        assert!(each.what.contains("queue full"), "{}", each.what);
        assert_eq!(each.refused.len(), 1);
        assert_eq!(each.refused[0].0, 3);
        assert!(each.refused[0].1.contains("failed to parse [a]"));
    }

    #[test]
    fn what_a_person_has_to_mend_refuses_no_record() {
        for (status, kind) in [
            (403, "cluster_block_exception"),
            (404, "index_not_found_exception"),
            (403, "security_exception"),
            (400, "illegal_argument_exception"),
            (400, "index_closed_exception"),
        ] {
            assert_eq!(fate(status, kind), Fate::Blocked, "{kind}");
        }
        assert_eq!(fate(400, "document_parsing_exception"), Fate::Refused);
        assert_eq!(fate(500, "exception"), Fate::Again);
    }
}
