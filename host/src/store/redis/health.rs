//! What a Redis says of itself: whether it may lose or throw away what is stored in it.
//!
//! It knows `INFO` and `CONFIG GET`, and that the latter is refused by many who run Redis for others. What to do
//! about a finding stands in its sentence.

use std::collections::HashMap;
use std::time::Duration;

use redis::ConnectionInfo;

use super::link;
use crate::store::StoreError;

/// One server, by its own word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    pub version: String,
    pub is_cluster: bool,
    pub is_replica: bool,
    pub keeps_log: bool,
    /// When the log is synced; none if it does not say.
    pub sync: Option<String>,
    pub memory_policy: String,
    /// In bytes; 0 is without bound.
    pub memory_max: u64,
}

/// How bad a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Risk {
    /// What was acknowledged may be lost or thrown away by what happens every day.
    Everyday(String),
    /// What came in the last second may be lost by what happens rarely.
    Rare(String),
}

/// Asks one server.
pub async fn examine(address: &ConnectionInfo, timeout: Duration) -> Result<Health, StoreError> {
    let info: String = link::ask(address, redis::cmd("INFO").arg("default"), timeout).await?;
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("appendfsync");
    let sync: Result<HashMap<String, String>, _> = link::ask(address, &config, timeout).await;
    Ok(read(&info, sync.ok().and_then(|mut config| config.remove("appendfsync"))))
}

fn read(info: &str, sync: Option<String>) -> Health {
    let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.trim().split_once(':')).collect();
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    Health {
        version: field("redis_version").to_owned(),
        is_cluster: field("cluster_enabled") == "1",
        is_replica: field("role") == "slave",
        keeps_log: field("aof_enabled") == "1",
        sync,
        memory_policy: field("maxmemory_policy").to_owned(),
        memory_max: field("maxmemory").parse().unwrap_or(0),
    }
}

impl Health {
    /// What may be lost there. `wait_replicas`: so many have it before anything counts as stored.
    pub fn risks(&self, wait_replicas: u32) -> Vec<Risk> {
        let mut risks = Vec::new();
        if !self.keeps_log {
            risks.push(Risk::Everyday(
                "it keeps no log (`appendonly no`): a restart loses messages that were acknowledged; set \
                 `appendonly yes`"
                    .to_owned(),
            ));
        }
        if self.memory_policy.starts_with("allkeys") {
            let policy = &self.memory_policy;
            risks.push(Risk::Everyday(format!(
                "it throws away what is stored when its memory is full (`maxmemory-policy {policy}`); set \
                 `noeviction`"
            )));
        }
        let sync = self.sync.as_deref().unwrap_or("always");
        if self.keeps_log && sync != "always" && wait_replicas == 0 {
            risks.push(Risk::Rare(format!(
                "a power cut loses what came in the last {} (`appendfsync {sync}`); set `appendfsync always`, \
                 or `wait_replicas` here",
                if sync == "no" { "half minute or so" } else { "second" }
            )));
        }
        risks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(info: &str, sync: &str) -> Health {
        read(info, Some(sync.to_owned()))
    }

    #[test]
    fn what_a_server_says_is_read_and_weighed() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\naof_enabled:1\r\n\
                    maxmemory:1000\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:1\r\n";
        let sound = health(info, "always");
        assert!(sound.is_cluster && sound.keeps_log && !sound.is_replica);
        assert_eq!((sound.version.as_str(), sound.memory_max), ("7.0.15", 1000));
        assert_eq!(sound.risks(0), []);
        let lazy = health(info, "everysec");
        assert!(matches!(&lazy.risks(0)[..], [Risk::Rare(risk)] if risk.contains("last second")));
        assert_eq!(lazy.risks(1), [], "replicas have it by then");
        let info = "aof_enabled:0\nmaxmemory_policy:allkeys-lru\n";
        let risks = health(info, "everysec").risks(2);
        assert!(matches!(&risks[..], [Risk::Everyday(log), Risk::Everyday(memory)]
            if log.contains("appendonly yes") && memory.contains("noeviction")));
    }
}
