//! What an adapter says of a long-lived socket, call by call.

use bytes::Bytes;
use wasmtime::Store;

use super::{Linked, Release, no_instance};
use crate::message::{Fault, Frame};
use crate::plugin::bindings::connection::Connected;
use crate::plugin::guest::{self, CallError, Guest};
use crate::plugin::services::Services;
use crate::plugin::{Closure, Endpoint, Outcome};

impl Release {
    /// Where to connect.
    pub async fn dial(
        &self,
        services: Services,
        memory: &[u8],
    ) -> Result<Result<Endpoint, Fault>, CallError> {
        let (mut store, bindings) = self.connected(services).await?;
        let call = bindings.parlor_plugin_connection();
        let outcome = self.watch("dial", &mut store, async |store| call.call_dial(store, memory).await);
        Ok(outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn opened(
        &self,
        services: Services,
        memory: &[u8],
        context: &[u8],
    ) -> Result<Result<Outcome, Fault>, CallError> {
        let (mut store, bindings) = self.connected(services).await?;
        let call = bindings.parlor_plugin_connection();
        let outcome =
            self.watch("opened", &mut store, async |store| call.call_opened(store, memory, context).await);
        Ok(outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn hear(
        &self,
        services: Services,
        memory: &[u8],
        frame: Frame,
    ) -> Result<Result<Outcome, Fault>, CallError> {
        let (mut store, bindings) = self.connected(services).await?;
        let call = bindings.parlor_plugin_connection();
        let frame = frame.into();
        let outcome =
            self.watch("hear", &mut store, async |store| call.call_hear(store, memory, &frame).await);
        Ok(outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn heartbeat(
        &self,
        services: Services,
        memory: &[u8],
    ) -> Result<Result<Outcome, Fault>, CallError> {
        let (mut store, bindings) = self.connected(services).await?;
        let call = bindings.parlor_plugin_connection();
        let outcome =
            self.watch("heartbeat", &mut store, async |store| call.call_heartbeat(store, memory).await);
        Ok(outcome.await?.map(Into::into).map_err(Into::into))
    }

    pub async fn closed(
        &self,
        services: Services,
        memory: &[u8],
        why: Closure,
    ) -> Result<Result<Outcome, Fault>, CallError> {
        let (mut store, bindings) = self.connected(services).await?;
        let call = bindings.parlor_plugin_connection();
        let why = why.into();
        let outcome =
            self.watch("closed", &mut store, async |store| call.call_closed(store, memory, &why).await);
        Ok(outcome.await?.map(Into::into).map_err(Into::into))
    }

    async fn connected(&self, services: Services) -> Result<(Store<Guest>, Connected), CallError> {
        let Linked::Adapter { connection: Some(linked), .. } = &self.linked else {
            return Err(CallError::NoInstance("it keeps no socket".to_owned()));
        };
        let mut store = guest::store(&self.engine, services, Bytes::new(), self.bounds);
        let made = guest::in_time(&mut store, async |store| linked.instantiate_async(store).await);
        let bindings = made.await.map_err(no_instance)?;
        Ok((store, bindings))
    }
}
