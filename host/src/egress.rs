//! Placeholder.
use std::collections::BTreeMap;
use std::sync::Arc;
use crate::plugin::{manifest::Manifest, secrets::Secrets, services::Http};
pub struct Egress;
impl Egress {
    pub fn new(_: BTreeMap<String, url::Url>) -> anyhow::Result<Egress> { Ok(Egress) }
    pub fn gate(&self, _: &Manifest, _: &BTreeMap<String, serde_json::Value>, _: Arc<Secrets>) -> Arc<dyn Http> { Arc::new(crate::plugin::services::NoHttp) }
}
