//! `/metrics`: the figures of the agent in the text format of OpenMetrics 1.0, which Prometheus reads.
//!
//! ```text
//! families   what is told of the status and of the figures
//! files      the journal on disk
//! process    what the kernel tells of this process
//! programs   run times of the kernel programs, sampled
//! ```

mod families;
pub(crate) mod files;
mod process;
pub(crate) mod programs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::status::Status;
use crate::session::Figures;
use files::JournalFiles;
use programs::ProgramTimes;

/// What is asked for by Prometheus and by all that read its format.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The agent at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) figures: Figures,
    /// Absent where they cannot be looked at.
    pub(crate) files: Option<JournalFiles>,
    /// By program; empty until there was a sample.
    pub(crate) programs: Vec<ProgramTimes>,
    /// Seconds since the capture thread last told how it is.
    pub(crate) told_seconds: f64,
}

/// The whole answer. Errors: none but those of writing into memory.
pub(crate) fn text(snapshot: Snapshot) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        families::write(self, &mut Families { encoder })
    }
}

/// Writes one family after the other.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Families<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, std::fmt::Error> {
        self.encoder.encode_descriptor(name, help, None, kind)
    }

    /// `_total` is put behind the name.
    fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let mut metric = self.family(name, help, MetricType::Counter)?;
        metric.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
    }

    fn seconds_counter(&mut self, name: &str, help: &str, value: f64) -> std::fmt::Result {
        let mut metric = self.family(name, help, MetricType::Counter)?;
        metric.encode_counter::<[(&str, &str); 0], f64, u64>(&value, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        self.family(name, help, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> std::fmt::Result {
        self.family(name, help, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> std::fmt::Result {
        let mut metric = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in values {
            metric
                .encode_family(&labels)?
                .encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)?;
        }
        Ok(())
    }

    fn seconds_counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> std::fmt::Result {
        let mut metric = self.family(name, help, MetricType::Counter)?;
        for (labels, value) in values {
            metric
                .encode_family(&labels)?
                .encode_counter::<[(&str, &str); 0], f64, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> std::fmt::Result {
        let mut metric = self.family(name, help, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// `buckets`: upper bound in seconds, and how many are in the bucket by itself; the last bound is infinite.
    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> std::fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.family(name, help, MetricType::Histogram)?;
        metric.encode_histogram(
            sum,
            count,
            buckets,
            None::<
                &std::collections::HashMap<
                    usize,
                    prometheus_client::metrics::exemplar::Exemplar<[(&str, &str); 0], f64>,
                >,
            >,
        )
    }

    fn info<L: EncodeLabelSet>(&mut self, name: &str, help: &str, labels: &L) -> std::fmt::Result {
        self.family(name, help, MetricType::Info)?
            .encode_info(labels)
    }
}

#[cfg(test)]
mod tests;
