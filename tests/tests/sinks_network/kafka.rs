//! Against librdkafka's mock cluster: brokers of this process, over real sockets.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::ledger::{Entry, account};
use super::stand::Stand;

pub(crate) const TOPIC: &str = "audit";
const BROKERS: i32 = 3;
const PARTITIONS: i32 = 6;

pub(crate) type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Result<Cluster> {
    cluster_of(BROKERS)
}

pub(crate) fn cluster_of(brokers: i32) -> Result<Cluster> {
    let cluster = MockCluster::new(brokers)?;
    cluster.create_topic(TOPIC, PARTITIONS, brokers)?;
    Ok(cluster)
}

fn keys(cluster: &Cluster) -> String {
    let brokers = cluster.bootstrap_servers();
    let brokers: Vec<String> = brokers.split(',').map(|b| format!("{b:?}")).collect();
    // A broker that comes back is found soon.
    format!(
        "type = \"kafka\"\nbrokers = [{}]\ntopic = \"{TOPIC}\"\n\
         properties = {{ \"reconnect.backoff.max.ms\" = 500 }}",
        brokers.join(", ")
    )
}

/// Reads the topic all the time: the mock keeps only the newest 5 MB of a partition.
pub(crate) struct Reading {
    count: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Entry>>>,
}

impl Reading {
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "reader")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "500")
            .create()?;
        let mut partitions = rdkafka::TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(TOPIC, partition, rdkafka::Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let count = Arc::new(AtomicU64::new(0));
        let ends = Arc::new(AtomicBool::new(false));
        let (counter, end) = (count.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            let mut entries = Vec::new();
            loop {
                match consumer.poll(Duration::from_millis(200)) {
                    Some(Ok(message)) => {
                        entries.push(entry(&message)?);
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    // Brokers that are away.
                    Some(Err(_)) => {}
                    None if end.load(Ordering::Relaxed) => return Ok(entries),
                    None => {}
                }
            }
        });
        Ok(Reading {
            count,
            ends,
            thread,
        })
    }

    pub(crate) fn wait_for(&self, records: u64) -> Result<()> {
        dbgov_tests::wait_for("records arrive", Duration::from_secs(60), || {
            Ok((self.count.load(Ordering::Relaxed) >= records).then_some(()))
        })
    }

    pub(crate) fn end(self) -> Result<Vec<Entry>> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the reader panicked")?
    }
}

fn entry(message: &impl Message) -> Result<Entry> {
    let header = |name: &str| {
        let headers = message.headers()?;
        let found = headers.iter().find(|header| header.key == name)?;
        Some(String::from_utf8_lossy(found.value?).into_owned())
    };
    let record: serde_json::Value =
        serde_json::from_slice(message.payload().context("no payload")?)?;
    let key = String::from_utf8_lossy(message.key().context("no key")?).into_owned();
    assert_eq!(
        record["session"]["id"],
        key.as_str(),
        "the key is the session"
    );
    assert_eq!(header("kind").as_deref(), Some("statement"));
    Ok(Entry {
        seq: record["seq"].as_u64().context("no seq")?,
        id: header("id").context("no id")?,
        session: key,
    })
}

/// All brokers go and come back twice while records are under way.
#[test]
fn brokers_that_go_and_come_back() -> Result<()> {
    let stand = Stand::new()?;
    let cluster = cluster()?;
    let reading = Reading::start(&cluster)?;
    let all = |change: &dyn Fn(i32) -> rdkafka::error::KafkaResult<()>| {
        (1..=BROKERS).try_for_each(change)
    };
    // So slow that the brokers go while messages are under way.
    all(&|id| cluster.broker_round_trip_time(id, Duration::from_millis(20)))?;
    let status = stand.deliver(&keys(&cluster), || {
        for records in [30_000, 60_000] {
            reading.wait_for(records)?;
            all(&|id| cluster.broker_down(id))?;
            std::thread::sleep(Duration::from_millis(7_000));
            all(&|id| cluster.broker_up(id))?;
        }
        Ok(())
    })?;
    reading.wait_for(stand.expected().len() as u64)?;
    let account = account(stand.expected(), &reading.end()?);
    account.settle("kafka");
    // The mock looks at the sequence numbers of transactional producers only, and stores again what a real broker would
    // know (rd_kafka_mock_validate_records). What
    // it stores twice is what was on its way when a broker went.
    assert!(
        account.duplicates < 10_000,
        "{} came twice",
        account.duplicates
    );
    assert!(
        status.retries >= 1,
        "the status never said that brokers were away: {status:?}"
    );
    Ok(())
}

/// A record that no broker takes is refused, alone.
#[test]
fn a_record_that_is_too_large_is_refused_alone() -> Result<()> {
    let long = format!("SELECT '{}'", "x".repeat(3_000));
    let stand = Stand::with_statements(&["SELECT 1", &long, "SELECT 3"])?;
    let cluster = cluster()?;
    let reading = Reading::start(&cluster)?;
    let keys = keys(&cluster).replace(
        "properties = {",
        "properties = { \"message.max.bytes\" = 2000,",
    );
    let status = stand.deliver(&keys, || Ok(()))?;
    assert_eq!(status.refused, 1);
    assert!(stand.refused()?[0].contains("message.max.bytes"));
    reading.wait_for(2)?;
    let seqs: HashSet<u64> = reading.end()?.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, HashSet::from([1, 3]));
    Ok(())
}

/// Errors that a person has to mend are in the status, and nothing is lost.
#[test]
fn a_topic_that_is_refused_is_said() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1"])?;
    let cluster = cluster()?;
    cluster.topic_error(
        TOPIC,
        rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    )?;
    let status = stand.until(&keys(&cluster), "the status says why", |status| {
        status.last_error.is_some()
    })?;
    let said = status.last_error.unwrap_or_default();
    assert!(said.contains("uthoriz"), "{said}");
    assert_eq!(status.delivered, 0);
    assert_eq!(status.refused, 0);
    Ok(())
}

/// What a broker finds too large together it may take alone.
#[test]
fn a_batch_that_is_too_large_goes_one_by_one() -> Result<()> {
    let stand = Stand::with_statements(&["SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4"])?;
    let cluster = cluster()?;
    let reading = Reading::start(&cluster)?;
    let too_large = rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(rdkafka::types::RDKafkaApiKey::Produce, &[too_large]);
    let status = stand.deliver(&keys(&cluster), || Ok(()))?;
    assert_eq!(status.refused, 0, "{status:?}");
    reading.wait_for(4)?;
    let arrived = reading.end()?;
    account(stand.expected(), &arrived).settle("kafka, one by one");
    Ok(())
}
