//! One plugin on the bench: calls as the host makes them, with what it may reach given by the case.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::platform::Platform;
use crate::clock::FixedClock;
use crate::egress::Egress;
use crate::message::{Fault, HttpRequest, HttpResponse, Message};
use crate::plugin::manifest::{self, Manifest, SelfTest};
use crate::plugin::secrets::Secrets;
use crate::plugin::services::{
    FailureKind, Fence, Http, HttpFailure, Memory, MemoryError, NoHttp, NoMemory, Outbound, Services,
};
use crate::plugin::{CallError, Reception, Release, selftest};

/// The time at which pipelines are tried.
const NOW_MS: u64 = 1_700_000_000_000;

/// The plugin that is tried, and what it says of itself.
pub struct Bench {
    pub release: Arc<Release>,
    pub manifest: Manifest,
}

impl Bench {
    pub fn new(release: Arc<Release>) -> Self {
        let manifest = release.manifest.clone();
        Self { release, manifest }
    }

    /// The golden requests that bring a message, under the settings of the trial. There is one at least.
    pub fn samples(&self) -> Result<Vec<SelfTest>, String> {
        let tests = self.manifest.selftests.iter();
        let samples: Vec<_> =
            tests.filter(|test| brings_message(test)).map(|test| self.tried(test)).collect();
        if samples.is_empty() {
            return Err("no `[[selftest]]` expects a message: add a request that brings one".to_owned());
        }
        Ok(samples)
    }

    /// A golden request under the settings of the trial.
    pub fn tried(&self, test: &SelfTest) -> SelfTest {
        let rules = &self.manifest.trial;
        let mut test = test.clone();
        test.settings.extend(rules.settings.clone());
        test.secrets.extend(rules.secrets.clone());
        test
    }

    /// Where there is no golden request: the settings and secrets of the trial alone.
    pub fn bare(&self) -> SelfTest {
        self.tried(&SelfTest { clock_ms: NOW_MS, ..SelfTest::default() })
    }

    /// All that `receive` may reach, which is nothing that takes time.
    pub fn shut(&self, test: &SelfTest) -> Services {
        self.services(test, Arc::new(NoHttp), Arc::new(NoMemory))
    }

    /// With a way out to a platform, whose rates nobody has used yet.
    pub fn open(&self, test: &SelfTest, platform: &Arc<Platform>) -> Services {
        let settings = self.manifest.with_defaults(&test.settings);
        let http = Egress::over(platform.clone()).gate(&self.manifest, &settings, self.secrets(test));
        self.services(test, http, Arc::new(Kept::default()))
    }

    pub fn services(&self, test: &SelfTest, http: Arc<dyn Http>, memory: Arc<dyn Memory>) -> Services {
        let settings = self.manifest.with_defaults(&test.settings);
        Services {
            channel: "(conformance)".into(),
            plugin: self.manifest.name.as_str().into(),
            settings: Arc::new(settings.into_iter().map(|(name, value)| (name, value.to_string())).collect()),
            secrets: self.secrets(test),
            http,
            memory,
            clock: Arc::new(FixedClock(test.clock_ms)),
        }
    }

    fn secrets(&self, test: &SelfTest) -> Arc<Secrets> {
        let given: BTreeMap<_, _> = test
            .secrets
            .iter()
            .map(|(name, value)| (name.clone(), SecretString::from(value.as_str())))
            .collect();
        Arc::new(Secrets::new(&self.manifest, &given))
    }

    /// Hands a request to the adapter, as the webhook's door does.
    pub async fn receive(&self, test: &SelfTest, request: HttpRequest) -> Result<Reception, String> {
        let reception = self.release.receive(self.shut(test), request).await;
        reception.map_err(|error| format!("`receive`: {error}"))
    }

    /// The messages of a golden request.
    pub async fn messages(&self, test: &SelfTest) -> Result<Vec<Message>, String> {
        Ok(messages(&self.receive(test, selftest::request(test)).await?).to_vec())
    }
}

fn brings_message(test: &SelfTest) -> bool {
    let is_taken =
        matches!(test.expect.reception, manifest::Reception::Accept | manifest::Reception::Inquire);
    is_taken && test.expect.messages.as_ref().is_none_or(|messages| !messages.is_empty())
}

/// What a reception brings.
pub fn messages(reception: &Reception) -> &[Message] {
    match reception {
        Reception::Accept(acceptance) => &acceptance.messages,
        Reception::Inquire(inquiry) => &inquiry.messages,
        Reception::Answer(_) | Reception::Refuse(_) => &[],
    }
}

/// A call that a plugin answered, whatever it said.
pub fn answered<T>(
    call: &str,
    outcome: Result<Result<T, Fault>, CallError>,
) -> Result<Result<T, Fault>, String> {
    let answer = outcome.map_err(|error| format!("`{call}`: {error}"))?;
    match answer {
        Err(fault) if fault.kind == crate::message::FaultKind::Internal => {
            Err(format!("`{call}` calls this a defect of its own: {}", fault.reason))
        }
        answer => Ok(answer),
    }
}

/// Compares, and tells both sides.
pub fn equal<T: PartialEq + Debug>(what: &str, wanted: &T, got: &T) -> Result<(), String> {
    if wanted == got { Ok(()) } else { Err(format!("{what}: {wanted:?} was wanted, {got:?} came")) }
}

/// The memory of one delivery.
#[derive(Debug, Default)]
struct Kept(tokio::sync::Mutex<BTreeMap<String, Vec<u8>>>);

#[async_trait]
impl Memory for Kept {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        Ok(self.0.lock().await.get(key).cloned())
    }

    async fn set(&self, key: &str, value: &[u8], _ttl: Option<Duration>) -> Result<(), MemoryError> {
        self.0.lock().await.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), MemoryError> {
        self.0.lock().await.remove(key);
        Ok(())
    }

    async fn increment(&self, key: &str, by: i64, _ttl: Option<Duration>) -> Result<i64, MemoryError> {
        let mut kept = self.0.lock().await;
        let was = kept.get(key).and_then(|bytes| Some(i64::from_le_bytes(bytes.as_slice().try_into().ok()?)));
        let sum = was.unwrap_or(0) + by;
        kept.insert(key.to_owned(), sum.to_le_bytes().to_vec());
        Ok(sum)
    }
}

/// Counts what a call asks for that it may not have.
#[derive(Debug, Default)]
pub struct Forbidden(AtomicUsize);

impl Forbidden {
    pub fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Http for Forbidden {
    async fn send(&self, _request: Outbound) -> Result<HttpResponse, HttpFailure> {
        self.note();
        let reason = "no HTTP here".to_owned();
        Err(HttpFailure { kind: FailureKind::Denied, reason, request_sent: false, retry_after: None })
    }

    fn expire_token(&self, _name: &str) {
        self.note();
    }

    fn for_a_call(&self) -> Arc<dyn Http> {
        Arc::new(NoHttp)
    }

    fn leaving_room(&self) -> Arc<dyn Http> {
        Arc::new(NoHttp)
    }

    fn within(&self, _fence: Arc<dyn Fence>) -> Arc<dyn Http> {
        Arc::new(NoHttp)
    }
}

#[async_trait]
impl Memory for Forbidden {
    async fn get(&self, _key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        self.note();
        Err(MemoryError::Unavailable)
    }

    async fn set(&self, _key: &str, _value: &[u8], _ttl: Option<Duration>) -> Result<(), MemoryError> {
        self.note();
        Err(MemoryError::Unavailable)
    }

    async fn delete(&self, _key: &str) -> Result<(), MemoryError> {
        self.note();
        Err(MemoryError::Unavailable)
    }

    async fn increment(&self, _key: &str, _by: i64, _ttl: Option<Duration>) -> Result<i64, MemoryError> {
        self.note();
        Err(MemoryError::Unavailable)
    }
}
