//! What a listener hears, step by step: each piece of text once, then how it ended.
//!
//! It does not know who listens, nor in which form a door passes it on.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use super::{End, Heard};

/// One step. All but `Text` are the last.
#[derive(Debug, Clone)]
pub enum News {
    Text(String),
    End(End),
    /// Nobody speaks into this line any more: the host is shutting down and no turn will come.
    HungUp,
}

/// Where a listener is in what he heard.
struct Ear {
    heard: watch::Receiver<Heard>,
    told: usize,
    is_over: bool,
}

/// From the beginning to the end, whatever was said by now. Dropping it tells the turn that nobody listens.
pub fn news(heard: watch::Receiver<Heard>) -> BoxStream<'static, News> {
    stream::unfold(Ear { heard, told: 0, is_over: false }, next).boxed()
}

async fn next(mut ear: Ear) -> Option<(News, Ear)> {
    if ear.is_over {
        return None;
    }
    let told = ear.told;
    let heard = ear.heard.wait_for(|heard| heard.text.len() > told || heard.end.is_some()).await;
    let news = heard.map_or(News::HungUp, |heard| match &heard.end {
        Some(end) if heard.text.len() == told => News::End(end.clone()),
        _ => News::Text(heard.text[told..].to_owned()),
    });
    match &news {
        News::Text(text) => ear.told += text.len(),
        News::End(_) | News::HungUp => ear.is_over = true,
    }
    Some((news, ear))
}
