//! The bulk interface of Elasticsearch and OpenSearch (elastic.co/docs: "Bulk index or delete documents"). Each record is
//! created under its own id: what is there already is not written again.
//!
//! ```text
//! config     its keys
//! index      the index a record goes to
//! reply      answers to single records -> what to do
//! ```

mod config;
mod index;
mod reply;

use reqwest::header::HeaderMap;
use serde::Serialize;

pub use self::config::ElasticConfig;
use self::index::Index;
use super::http::{Connection, client::REPLY_BYTES_MAX};
use super::parts::{self, Answer};
use super::progress::Progress;
use super::{Deliver, DeliverError, Item};

/// Of the answer, for each record: its status, and at worst the reason of an error.
const REPLY_BYTES_PER_RECORD: usize = 512;
/// Only what is read: without, the answer is as long as the request.
const FILTER: (&str, &str) = (
    "filter_path",
    "errors,error,status,items.*.status,items.*.error.type,items.*.error.reason",
);

#[derive(Debug)]
pub struct Elastic {
    bulk: Bulk,
    progress: Progress,
}

#[derive(Debug)]
struct Bulk {
    connection: Connection,
    pipeline: Option<String>,
    index: Index,
}

impl Elastic {
    pub fn new(config: &ElasticConfig) -> Self {
        Elastic {
            bulk: Bulk {
                connection: Connection::new(&config.http),
                pipeline: config.pipeline.clone(),
                index: config.index.clone(),
            },
            progress: Progress::default(),
        }
    }

    /// Records that were there already.
    pub fn known(&self) -> u64 {
        self.progress.known
    }
}

impl Deliver for Elastic {
    async fn deliver(&mut self, batch: &[Item]) -> Result<(), DeliverError> {
        parts::deliver(&mut self.progress, batch, &mut self.bulk).await
    }
}

impl parts::Send for Bulk {
    async fn send(&mut self, items: &[&Item]) -> Answer {
        let answer = self.post(items).await;
        self.connection.heed(answer)
    }
}

impl Bulk {
    async fn post(&mut self, items: &[&Item]) -> Answer {
        let client = match self.connection.ready() {
            Ok(client) => client,
            Err(answer) => return answer,
        };
        let mut url = client.below("_bulk");
        url.query_pairs_mut().append_pair(FILTER.0, FILTER.1);
        if let Some(pipeline) = &self.pipeline {
            url.query_pairs_mut().append_pair("pipeline", pipeline);
        }
        let reply = client.post(
            url,
            "application/x-ndjson",
            body(&self.index, items),
            HeaderMap::new(),
            REPLY_BYTES_MAX + items.len() * REPLY_BYTES_PER_RECORD,
        );
        match reply.await {
            Ok(reply) => reply::answer(&client, &reply, items.len()),
            Err(what) => Answer::later(what),
        }
    }
}

#[derive(Serialize)]
struct Action<'a> {
    create: Create<'a>,
}

#[derive(Serialize)]
struct Create<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
}

fn body(index: &Index, items: &[&Item]) -> Vec<u8> {
    /// About what an action line takes.
    const ACTION_BYTES: usize = 160;
    let bytes = items.iter().map(|item| item.body.len() + ACTION_BYTES);
    let mut body = Vec::with_capacity(bytes.sum());
    for item in items {
        let name = index.of(item.time_unix_ns);
        let create = Create {
            index: &name,
            id: &item.id,
        };
        // Strings into memory: there is nothing that can fail.
        let _ = serde_json::to_writer(&mut body, &Action { create });
        body.push(b'\n');
        body.extend_from_slice(&item.body);
        body.push(b'\n');
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_items::items;

    #[test]
    fn a_record_is_an_action_and_a_line() {
        let batch = items(2);
        let all: Vec<&Item> = batch.iter().collect();
        let index = Index::new("dbgov-%Y.%m.%d").unwrap();
        let body = String::from_utf8(body(&index, &all)).unwrap();
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[0],
            format!(
                r#"{{"create":{{"_index":"dbgov-2026.11.22","_id":"{:064x}"}}}}"#,
                1
            )
        );
        assert_eq!(lines[3], r#"{"kind":"statement","seq":2}"#);
        assert!(body.ends_with('\n'));
    }
}
