//! Status codes (RFC 9110 section 15) -> what to do with the request.

use std::time::Duration;

use reqwest::StatusCode;

use super::client::{Client, Reply};
use crate::sink::parts::Answer;

/// A receiver may ask for a pause of so long; one that asks for more (a wrong clock, a typing error) is asked again then.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What is meant by a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Taken,
    /// Too large, or something in it is at fault.
    Divide,
    Later,
    /// A person has to change the configuration, here or there.
    Misconfigured,
}

/// Of a status that the protocol above does not give a meaning of its own.
pub fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200..=299 => Meaning::Taken,
        // Content too large; bad request; unprocessable.
        400 | 413 | 422 => Meaning::Divide,
        // Time-out; too early; too many.
        408 | 425 | 429 => Meaning::Later,
        // Not implemented, and the like: no later request will fare better by itself.
        501 | 505 | 510 | 511 => Meaning::Misconfigured,
        500..=599 => Meaning::Later,
        // Redirections, and what is about the request as such: token, path, method, content type.
        _ => Meaning::Misconfigured,
    }
}

/// The answer by its status alone.
pub fn by_status(client: &Client, reply: &Reply) -> Answer {
    let what = || client.describe(reply);
    match meaning(reply.status) {
        Meaning::Taken => Answer::Taken,
        Meaning::Divide => Answer::Divide(what()),
        Meaning::Later => Answer::Later {
            what: what(),
            after: reply.retry_after,
        },
        Meaning::Misconfigured if reply.status.is_redirection() => Answer::misconfigured(format!(
            "{}; redirections are not followed: configure the address it leads to",
            what()
        )),
        Meaning::Misconfigured => Answer::misconfigured(what()),
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date.
pub fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_status_has_its_meaning() {
        for (status, expected) in [
            (200, Meaning::Taken),
            (204, Meaning::Taken),
            (301, Meaning::Misconfigured),
            (307, Meaning::Misconfigured),
            (400, Meaning::Divide),
            (401, Meaning::Misconfigured),
            (403, Meaning::Misconfigured),
            (404, Meaning::Misconfigured),
            (405, Meaning::Misconfigured),
            (408, Meaning::Later),
            (413, Meaning::Divide),
            (415, Meaning::Misconfigured),
            (422, Meaning::Divide),
            (429, Meaning::Later),
            (500, Meaning::Later),
            (501, Meaning::Misconfigured),
            (502, Meaning::Later),
            (503, Meaning::Later),
            (504, Meaning::Later),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(meaning(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_for_ever() {
        let now: jiff::Timestamp = "2026-11-23T08:49:30Z".parse().unwrap();
        let after = |text| retry_after(text, now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after(" 0 "), Some(Duration::ZERO));
        assert_eq!(
            after("Mon, 23 Nov 2026 08:49:37 GMT"),
            Some(Duration::from_secs(7))
        );
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(
            after("Thu, 31 Dec 2099 23:59:59 GMT"),
            Some(RETRY_AFTER_MAX)
        );
        for nonsense in ["", "soon", "-1", "1.5", "18446744073709551616"] {
            assert_eq!(after(nonsense), None, "{nonsense:?}");
        }
    }
}
