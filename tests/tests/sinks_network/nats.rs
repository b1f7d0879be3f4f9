//! Against nats-server with JetStream.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, consumer};
use dbgov_tests::receivers::NATS_STREAM as STREAM;
pub(crate) use dbgov_tests::receivers::NatsSite as Site;
use futures_util::StreamExt;

use super::ledger::{Entry, account};
use super::stand::Stand;

pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

async fn stream(port: u16) -> Result<jetstream::stream::Stream> {
    let client = async_nats::connect(format!("127.0.0.1:{port}")).await?;
    Ok(jetstream::new(client).get_stream(STREAM).await?)
}

/// Waits until the stream has so many messages.
fn wait_for(port: u16, messages: u64) -> Result<()> {
    block_on(async {
        for _ in 0..2_400 {
            if let Ok(mut stream) = stream(port).await
                && stream.info().await?.state.messages >= messages
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("fewer than {messages} messages arrived")
    })?
}

/// All that is stored, in the stream's order.
fn stored(port: u16) -> Result<Vec<Entry>> {
    block_on(async {
        let mut stream = stream(port).await?;
        let messages = stream.info().await?.state.messages as usize;
        let reader = stream
            .create_consumer(consumer::pull::Config {
                ack_policy: consumer::AckPolicy::None,
                ..consumer::pull::Config::default()
            })
            .await?;
        let mut entries = Vec::with_capacity(messages);
        while entries.len() < messages {
            let mut batch = reader.fetch().max_messages(5_000).messages().await?;
            let before = entries.len();
            while let Some(message) = batch.next().await {
                entries.push(entry(
                    &message.map_err(|error| anyhow::anyhow!("{error}"))?,
                )?);
            }
            ensure!(entries.len() > before, "the stream gave nothing more");
        }
        Ok(entries)
    })?
}

fn entry(message: &jetstream::Message) -> Result<Entry> {
    let headers = message.headers.as_ref().context("no headers")?;
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(message.subject.as_str(), "dbgov.db1_example.statement");
    Ok(Entry {
        seq: header("Dbgov-Seq").context("no seq")?.parse()?,
        id: header("Nats-Msg-Id").context("no id")?,
        session: header("Dbgov-Session").context("no session")?,
    })
}

/// The server is stopped and killed while records are under way: each is stored once, and in order.
#[test]
fn a_server_that_goes_and_comes_back() -> Result<()> {
    let stand = Stand::new()?;
    let place = Site::new(&stand.path(""), "")?;
    let mut server = place.start()?;
    let status = stand.deliver(&place.keys(), || {
        wait_for(place.port, 30_000)?;
        server.stop()?;
        std::thread::sleep(Duration::from_millis(500));
        server = place.start()?;
        wait_for(place.port, 60_000)?;
        server.kill9()?;
        std::thread::sleep(Duration::from_millis(500));
        server = place.start()?;
        Ok(())
    })?;
    let account = account(stand.expected(), &stored(place.port)?);
    account.settle("nats");
    assert_eq!(account.duplicates, 0, "the stream knows ids");
    assert!(status.retries >= 2, "{status:?}");
    Ok(())
}

/// Without a stream nothing is acknowledged; the status says what to do.
#[test]
fn a_stream_that_is_not_there_is_said() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let place = Site::new(&stand.path(""), "")?;
    let _server = place.start()?;
    let keys = place
        .keys()
        .replace("\nstream = \"AUDIT\"\ncreate_stream = {}", "");
    let status = stand.until(&keys, "the status says why", |s| s.last_error.is_some())?;
    let said = status.last_error.unwrap_or_default();
    assert!(said.contains("make a stream"), "{said}");
    assert_eq!(status.delivered, 0);
    Ok(())
}
