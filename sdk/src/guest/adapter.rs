//! An [`Adapter`](crate::Adapter) behind the exports of the world `webhook-adapter`.

use std::marker::PhantomData;

use super::{
    bindings::adapter::{
        exports::parlor::plugin::adapter as wit,
        parlor::plugin::types::{Fault, HttpRequest, Message, Reply},
    },
    convert::{Ours, Wits, both_ways},
    log_panics,
    services::key_form,
};
use crate::adapter::{
    Acceptance, Adapter, Delivered, Download, FileKey, Inquiry, Presentation, Reception, Snapshot,
};

/// The exports of one adapter; made for each call anew, as it keeps nothing.
pub struct Export<T>(PhantomData<T>);

pub(super) fn adapter<T: Adapter>() -> T {
    log_panics();
    T::default()
}

impl<T: Adapter> wit::Guest for Export<T> {
    fn receive(request: HttpRequest) -> wit::Reception {
        match adapter::<T>().receive(&request.into()) {
            Ok(Reception::Answer(response)) => wit::Reception::Answer(response.into()),
            Ok(Reception::Accept(acceptance)) => wit::Reception::Accept(acceptance.wits()),
            Ok(Reception::Inquire(inquiry)) => wit::Reception::Inquire(inquiry.wits()),
            Err(fault) => wit::Reception::Refuse(fault.into()),
        }
    }

    fn enrich(message: Message) -> Result<Message, Fault> {
        adapter::<T>().enrich(message.into()).map(Into::into).map_err(Into::into)
    }

    fn present(context: Vec<u8>, snapshot: Option<wit::Snapshot>) -> wit::Presentation {
        adapter::<T>().present(&context, snapshot.ours()).wits()
    }

    fn update(address: Vec<u8>, key: String, checkpoint: Vec<u8>, text: String) -> Result<Vec<u8>, Fault> {
        adapter::<T>().update(&address, &key, checkpoint, &text).map_err(Into::into)
    }

    fn finish(
        address: Vec<u8>,
        key: String,
        checkpoint: Vec<u8>,
        reply: Reply,
    ) -> Result<wit::Delivered, Fault> {
        let delivered = adapter::<T>().finish(&address, &key, &checkpoint, &reply.into());
        delivered.map(delivered_wit).map_err(Into::into)
    }

    fn locate(reference: String) -> Result<wit::Download, Fault> {
        adapter::<T>().locate(&reference).map(download_wit).map_err(Into::into)
    }
}

both_ways!(wit::Acceptance, Acceptance, record { response, messages, withdrawn });
both_ways!(wit::Inquiry, Inquiry, record { messages, message_id, wait_ms, context });
both_ways!(wit::Snapshot, Snapshot, record { reply, finished, asked });
both_ways!(wit::Presentation, Presentation, record { response, complete, checkpoint, again_within_ms });

fn delivered_wit(delivered: Delivered) -> wit::Delivered {
    match delivered {
        Delivered::More(checkpoint) => wit::Delivered::More(checkpoint),
        Delivered::Done(ids) => wit::Delivered::Done(wit::Receipt { ids }),
    }
}

fn download_wit(download: Download) -> wit::Download {
    let key = download.key.map(|key| match key {
        FileKey::Secret(name, form) => wit::FileKey::Secret((name, key_form(&form))),
        FileKey::Bytes(bytes) => wit::FileKey::Bytes(bytes),
    });
    wit::Download { request: download.request.into(), key }
}
