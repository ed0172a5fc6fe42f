//! What the adapter says of its channel's long-lived socket. Each call asks for the release that is stable now: the
//! socket outlives it, and a candidate hears nothing of it.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Adapter, AdapterError, FITTED, Speaker};
use crate::message::Frame;
use crate::plugin::services::Http;
use crate::plugin::{Closure, Endpoint, Outcome};

impl Adapter {
    /// Whether the release that is stable now keeps a socket under the channel's settings.
    pub fn does_connect(&self) -> bool {
        let stable = self.stable();
        let settings = stable.services.settings.iter();
        let settings =
            settings.filter_map(|(name, json)| Some((name.clone(), serde_json::from_str(json).ok()?)));
        stable.fitted.release.manifest.does_connect(&settings.collect())
    }

    /// Tells when another release may serve, which may keep a socket where this one keeps none.
    pub fn swaps(&self) -> watch::Receiver<()> {
        self.shelf.swaps()
    }

    /// Where to connect, and the way out that keeps the ticket. It may ask the platform first.
    pub async fn dial(&self, memory: &[u8]) -> Result<(Endpoint, Arc<dyn Http>), AdapterError> {
        let stable = self.stable();
        let _permit = stable.delivery_permit().await;
        let services = stable.services.for_a_call();
        let way_out = services.http.clone();
        let endpoint = stable.fitted.release.dial(services, memory).await??;
        Ok((endpoint, way_out))
    }

    pub async fn opened(&self, memory: &[u8], context: &[u8]) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        let stable = self.stable();
        Ok(stable.fitted.release.opened(stable.quick_services(), memory, context).await??)
    }

    pub async fn hear(&self, memory: &[u8], frame: Frame) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        let stable = self.stable();
        Ok(stable.fitted.release.hear(stable.quick_services(), memory, frame).await??)
    }

    pub async fn heartbeat(&self, memory: &[u8]) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        let stable = self.stable();
        Ok(stable.fitted.release.heartbeat(stable.quick_services(), memory).await??)
    }

    pub async fn closed(&self, memory: &[u8], why: Closure) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        let stable = self.stable();
        Ok(stable.fitted.release.closed(stable.quick_services(), memory, why).await??)
    }

    fn stable(&self) -> Speaker {
        self.bind(&self.shelf.serving(&self.name).expect(FITTED).stable)
    }

    /// What is heard waits for an instance; the platform's socket waits with it.
    async fn reception_permit(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.permits.receptions(&self.name).acquire().await.expect("this semaphore is never closed")
    }
}
