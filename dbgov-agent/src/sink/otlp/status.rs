//! Answers -> what to do (opentelemetry.io/docs/specs/otlp, "OTLP/gRPC Response", "Failures", "OTLP/gRPC Throttling").
//!
//! Where the specification says "drop the data", records are kept: what a person can mend (a token, a method that is not
//! there) is tried again, what is about a record is refused, and refused records are on disk.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use prost::Message;
use tonic::Code;

use crate::sink::parts::{Answer, Each};
use crate::sink::scrub::Scrub;

/// google.rpc.Status, which comes as `grpc-status-details-bin`, and as the body of errors over HTTP.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// google.protobuf.Any
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// google.rpc.RetryInfo
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Delay>,
}

/// google.protobuf.Duration
#[derive(Clone, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// A collector may ask for a pause of so long at most.
const DELAY_MAX: Duration = Duration::from_secs(3600);

/// What a failed call means. `details`: of the status, encoded.
pub(super) fn failed(code: Code, what: String, details: &[u8]) -> Answer {
    let after = RpcStatus::decode(details)
        .ok()
        .and_then(|status| retry_delay(&status));
    let later = |what| Answer::Later { what, after };
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => later(what),
        Code::ResourceExhausted if after.is_some() => later(what),
        // Without a delay it is no throttling: the request is larger than the collector takes.
        Code::ResourceExhausted | Code::InvalidArgument => Answer::Divide(what),
        // Not retryable by the specification, and nothing that says the records are at fault.
        Code::Unknown
        | Code::Internal
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Ok => Answer::misconfigured(what),
    }
}

fn retry_delay(status: &RpcStatus) -> Option<Duration> {
    let detail = status
        .details
        .iter()
        .find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice())
        .ok()?
        .retry_delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    let nanos = u32::try_from(delay.nanos).ok()?;
    let delay = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
    Some(delay.min(DELAY_MAX))
}

/// Of a call that succeeded: the collector may have rejected some, must not be sent the same again, and does not say
/// which it rejected. All of them count as refused, so that none is lost.
pub(super) fn succeeded(
    partial: Option<ExportLogsPartialSuccess>,
    records: usize,
    scrub: &Scrub,
) -> Answer {
    let Some(partial) = partial else {
        return Answer::Taken;
    };
    let said = scrub.excerpt(&partial.error_message);
    if partial.rejected_log_records <= 0 {
        if !said.is_empty() {
            tracing::warn!("the collector took all records and warns: {said}");
        }
        return Answer::Taken;
    }
    let why = format!(
        "the collector rejected {} of these {records} records, without saying which: {said}",
        partial.rejected_log_records
    );
    Answer::Each(Each {
        refused: (0..records).map(|at| (at, why.clone())).collect(),
        ..Each::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::MISCONFIGURED_RETRY;

    fn details(seconds: i64, nanos: i32) -> Vec<u8> {
        RpcStatus {
            code: 8,
            message: "slow down".to_owned(),
            details: vec![Detail {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: RetryInfo {
                    retry_delay: Some(Delay { seconds, nanos }),
                }
                .encode_to_vec(),
            }],
        }
        .encode_to_vec()
    }

    fn failed_with(code: Code, details: &[u8]) -> Answer {
        failed(code, "words".to_owned(), details)
    }

    #[test]
    fn the_codes_the_specification_calls_retryable() {
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unavailable,
            Code::DataLoss,
        ] {
            let answer = failed_with(code, &[]);
            assert!(
                matches!(answer, Answer::Later { after: None, .. }),
                "{code:?}: {answer:?}"
            );
        }
    }

    #[test]
    fn a_collector_that_throttles_says_for_how_long() {
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let Answer::Later { after, .. } = failed_with(code, &details(2, 500_000_000)) else {
                panic!("{code:?}");
            };
            assert_eq!(after, Some(Duration::from_millis(2500)));
        }
        assert!(matches!(
            failed_with(Code::Unavailable, &details(i64::MAX, 0)),
            Answer::Later {
                after: Some(DELAY_MAX),
                ..
            }
        ));
        assert!(matches!(
            failed_with(Code::Unavailable, &details(-1, 0)),
            Answer::Later { after: None, .. }
        ));
        assert!(matches!(
            failed_with(Code::ResourceExhausted, b"\xff\xff no protocol buffer"),
            Answer::Divide(_)
        ));
    }

    #[test]
    fn what_is_about_the_records_and_what_is_not() {
        assert!(matches!(
            failed_with(Code::InvalidArgument, &[]),
            Answer::Divide(_)
        ));
        for code in [
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unimplemented,
            Code::NotFound,
            Code::Internal,
            Code::Unknown,
        ] {
            assert!(
                matches!(
                    failed_with(code, &[]),
                    Answer::Later {
                        after: Some(MISCONFIGURED_RETRY),
                        ..
                    }
                ),
                "{code:?}"
            );
        }
    }

    #[test]
    fn partial_success_loses_nothing() {
        assert_eq!(succeeded(None, 3, &Scrub::default()), Answer::Taken);
        let partial = |rejected, words: &str| {
            Some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: words.to_owned(),
            })
        };
        assert_eq!(
            succeeded(partial(0, "deprecated"), 3, &Scrub::default()),
            Answer::Taken
        );
        let Answer::Each(each) = succeeded(partial(1, "too old"), 3, &Scrub::default()) else {
            panic!("taken");
        };
        assert_eq!(each.refused.len(), 3);
        assert!(each.refused[0].1.contains("too old"));
        let mut scrub = Scrub::default();
        scrub.hide("hunter2");
        let Answer::Each(each) = succeeded(partial(1, "not for hunter2"), 1, &scrub) else {
            panic!("taken");
        };
        assert!(each.refused[0].1.ends_with("not for [removed]"));
    }
}
