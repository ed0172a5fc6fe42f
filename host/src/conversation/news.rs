//! What a listener hears, step by step: each piece of text once, then how it ended.
//!
//! It does not know who listens, nor in which form a door passes it on.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{End, Heard};

/// One step. All but `Text` are the last.
#[derive(Debug, Clone)]
pub enum News {
    Text(String),
    End(End),
    /// Nobody speaks into this line any more: the host is shutting down and no turn will come.
    HungUp,
    /// The listener's own time is over.
    Late,
}

/// Where a listener is in what he heard.
struct Ear {
    heard: watch::Receiver<Heard>,
    told: usize,
    is_over: bool,
    until: Instant,
}

/// From the beginning to the end, whatever was said by now. Dropping it tells the turn that nobody listens.
pub fn news(heard: watch::Receiver<Heard>, until: Instant) -> BoxStream<'static, News> {
    stream::unfold(Ear { heard, told: 0, is_over: false, until }, next).boxed()
}

async fn next(mut ear: Ear) -> Option<(News, Ear)> {
    if ear.is_over {
        return None;
    }
    let told = ear.told;
    let waiting = ear.heard.wait_for(|heard| heard.text.len() > told || heard.end.is_some());
    let news = match tokio::time::timeout_at(ear.until, waiting).await {
        Ok(Ok(heard)) if is_late(&heard, ear.until) => News::Late,
        Ok(Ok(heard)) => step(&heard, told),
        Ok(Err(_)) => News::HungUp,
        Err(_) => News::Late,
    };
    match &news {
        News::Text(text) => ear.told += text.len(),
        News::End(_) | News::HungUp | News::Late => ear.is_over = true,
    }
    Some((news, ear))
}

/// A turn that fails after the listener's time failed for want of it, whichever of the two is heard first.
fn is_late(heard: &Heard, until: Instant) -> bool {
    matches!(heard.end, Some(End::Failed { .. })) && Instant::now() >= until
}

fn step(heard: &Heard, told: usize) -> News {
    let Some(end) = &heard.end else { return News::Text(heard.text[told..].to_owned()) };
    match heard.text.get(told..).filter(|text| !text.is_empty()).or_else(|| rest(heard, told)) {
        Some(text) => News::Text(text.to_owned()),
        None => News::End(end.clone()),
    }
}

/// What a reply has beyond the text that was shown while it came, such as what a filter held back to its end:
/// who joins the pieces has the reply, unless it took something back.
fn rest(heard: &Heard, told: usize) -> Option<&str> {
    let Some(End::Said { reply, .. }) = &heard.end else { return None };
    let continues = reply.text.starts_with(&heard.text);
    reply.text.get(told..).filter(|rest| continues && !rest.is_empty())
}
