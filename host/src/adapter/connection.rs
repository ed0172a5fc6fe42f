//! What the adapter says of its channel's long-lived socket. Each call asks for the release that serves now: the
//! socket outlives it.

use super::{Adapter, AdapterError};
use crate::message::Frame;
use crate::plugin::{Closure, Endpoint, Outcome};

impl Adapter {
    /// Where to connect. It may ask the platform first.
    pub async fn dial(&self, memory: &[u8]) -> Result<Endpoint, AdapterError> {
        let _permit = self.delivery_permit().await;
        Ok(self.release()?.dial(self.services.clone(), memory).await??)
    }

    pub async fn opened(&self, memory: &[u8]) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        Ok(self.release()?.opened(self.quick_services(), memory).await??)
    }

    pub async fn hear(&self, memory: &[u8], frame: Frame) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        Ok(self.release()?.hear(self.quick_services(), memory, frame).await??)
    }

    pub async fn heartbeat(&self, memory: &[u8]) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        Ok(self.release()?.heartbeat(self.quick_services(), memory).await??)
    }

    pub async fn closed(&self, memory: &[u8], why: Closure) -> Result<Outcome, AdapterError> {
        let _permit = self.reception_permit().await;
        Ok(self.release()?.closed(self.quick_services(), memory, why).await??)
    }

    /// What is heard waits for an instance; the platform's socket waits with it.
    async fn reception_permit(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.permits.receptions.acquire().await.expect("this semaphore is never closed")
    }
}
