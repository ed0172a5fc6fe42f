//! Messages that a queue brings: all that can be done are done, and those that failed are named.
//!
//! Partial batch responses:
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>. Groups are worked side by side;
//! within one, what comes after a failure is left, or the order would break.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::Work;

const GROUP: &str = "MessageGroupId";

pub async fn answer(work: &dyn Work, event: SqsEvent, deadline: Instant) -> Value {
    let groups = groups(event.records).into_values();
    let failed = join_all(groups.map(|group| work_off(work, group, deadline))).await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().flatten().map(named).collect();
    serde_json::to_value(response).expect("a list of ids is JSON")
}

/// By their group, each in order; a record without one is alone.
fn groups(records: Vec<SqsMessage>) -> BTreeMap<String, Vec<SqsMessage>> {
    let mut groups: BTreeMap<String, Vec<SqsMessage>> = BTreeMap::new();
    for (number, record) in records.into_iter().enumerate() {
        let group = record.attributes.get(GROUP).map(|group| format!("group {group}"));
        groups.entry(group.unwrap_or_else(|| format!("record {number}"))).or_default().push(record);
    }
    groups
}

/// The ids of those that have to come again.
async fn work_off(work: &dyn Work, records: Vec<SqsMessage>, deadline: Instant) -> Vec<String> {
    let mut left = records.into_iter();
    while let Some(record) = left.next() {
        let id = record.message_id.unwrap_or_default();
        if let Err(reason) = done(work, record.body.as_deref().unwrap_or_default(), deadline).await {
            tracing::error!(record = id, reason, "a queued message is not done; the queue brings it again");
            return std::iter::once(id)
                .chain(left.map(|record| record.message_id.unwrap_or_default()))
                .collect();
        }
    }
    Vec::new()
}

/// A panic is one record's failure, not the batch's.
async fn done(work: &dyn Work, body: &str, deadline: Instant) -> Result<(), String> {
    let working = AssertUnwindSafe(work.work(body, deadline)).catch_unwind();
    working.await.unwrap_or_else(|_| Err("working on it panicked".to_owned()))
}

fn named(id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = id;
    failure
}
