//! The Redis that several nodes share: does it answer, does it keep what is stored, does it throw nothing away.

use super::Finding;
use crate::app::store::addresses;
use crate::config::Redis;
use crate::store::redis::{Address, Health, Risk};

const CHECK: &str = "redis";
/// The oldest with all that the store needs.
const VERSION_MIN: u32 = 7;

pub async fn findings(redis: &Redis) -> Vec<Finding> {
    let addresses = match addresses(redis) {
        Ok(addresses) => addresses,
        Err(error) => return vec![Finding::fail(CHECK, "", format!("{error:#}"), "mend `store.redis`")],
    };
    let looked_at = addresses.iter().map(|address| look_at(address, redis.wait_replicas));
    futures_util::future::join_all(looked_at).await.concat()
}

async fn look_at(address: &Address, wait_replicas: u32) -> Vec<Finding> {
    let about = address.to_string();
    match address.examine().await {
        Ok(health) => weigh(&about, &health, wait_replicas),
        Err(error) => {
            let remedy = "start it, or mend `store.redis`: address, password, `rediss://` for TLS";
            vec![Finding::fail(CHECK, &about, error.to_string(), remedy)]
        }
    }
}

fn weigh(about: &str, health: &Health, wait_replicas: u32) -> Vec<Finding> {
    let version = &health.version;
    let mut findings = vec![Finding::ok(CHECK, about, format!("answers, version {version}"))];
    if version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .is_some_and(|major: u32| major < VERSION_MIN)
    {
        let what = format!("version {version} is too old");
        findings.push(Finding::fail(CHECK, about, what, format!("run Redis {VERSION_MIN} or Valkey")));
    }
    if health.is_replica && !health.is_cluster {
        let what = "it is a replica, which takes no writes";
        findings.push(Finding::fail(CHECK, about, what, "name the master in `store.redis`"));
    }
    findings.extend(health.risks(wait_replicas).into_iter().map(|risk| match risk {
        Risk::Everyday(risk) => fault(about, &risk, Finding::fail),
        Risk::Rare(risk) => fault(about, &risk, Finding::warn),
    }));
    findings
}

/// A risk says behind its semicolon what to do.
fn fault(about: &str, risk: &str, finding: fn(&'static str, &str, String, String) -> Finding) -> Finding {
    let (what, remedy) = risk.rsplit_once("; ").unwrap_or((risk, "see the README"));
    finding(CHECK, about, what.to_owned(), remedy.to_owned())
}
