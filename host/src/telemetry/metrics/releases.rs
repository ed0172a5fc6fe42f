//! Which releases serve, as they were told of last: one that serves no more is gone from the next scrape.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// One release. There are as many as serve, so that its digest may be a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Served {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    /// `stable` or `candidate`.
    pub role: &'static str,
}

#[derive(Debug, Clone, Default)]
pub struct Releases(Arc<ArcSwap<Vec<Served>>>);

impl Releases {
    pub fn set(&self, served: Vec<Served>) {
        self.0.store(Arc::new(served));
    }
}

impl Collector for Releases {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "1 for each release that serves";
        let mut family = encoder.encode_descriptor("plugin_info", help, None, MetricType::Gauge)?;
        for one in &**self.0.load() {
            ConstGauge::new(1i64).encode(family.encode_family(one)?)?;
        }
        Ok(())
    }
}
