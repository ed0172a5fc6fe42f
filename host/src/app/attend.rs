//! The chat socket's questions, answered by turns: what a line hears from its first word or from its midst.

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;

use super::talk::{Talker, end, refusal};
use crate::conversation::{End, Heard};
use crate::doors::chat::{Event, Refusal};
use crate::doors::socket::{Attached, Attend, Names, Question, Step, Stopped};
use crate::turn::{Asked, Place, Resumed, Standing};

#[async_trait]
impl Attend for Talker {
    async fn attach(&self, question: Question) -> Result<Attached, Refusal> {
        let asked = Asked {
            person: &question.person,
            id: &question.id,
            session_id: question.session_id.as_deref(),
            query: question.query,
            request_id: &question.request_id,
            key: question.key.as_deref(),
        };
        let Resumed { message_id, session_id, standing } =
            self.0.resume(asked).await.map_err(|refused| refusal(&refused))?;
        Ok(Attached { names: Names { message_id, session_id }, steps: steps(standing) })
    }

    async fn stop(&self, person: &str, id: &str) -> Result<Option<Stopped>, Refusal> {
        let stopped = self.0.stop(person, id).await.map_err(|refused| refusal(&refused))?;
        Ok(stopped.map(|Resumed { message_id, session_id, standing }| {
            let how = match standing {
                Standing::Over(end) => last(end),
                Standing::UnderWay { .. } => Step::Stopped,
            };
            Stopped { names: Names { message_id, session_id }, how }
        }))
    }
}

fn steps(standing: Standing) -> BoxStream<'static, Step> {
    match standing {
        Standing::Over(end) => stream::iter([last(end)]).boxed(),
        Standing::UnderWay { heard, is_new, place } => {
            let at = Bookmark { has_snapshot: is_new, told: 0, is_over: false };
            stream::unfold(Ear { heard, at, _seat: place }, Ear::next).boxed()
        }
    }
}

fn last(how: End) -> Step {
    match how {
        End::Withdrawn => Step::Stopped,
        how => Step::Event(end(how)),
    }
}

/// Somebody on a line, and where he is in what he hears.
struct Ear {
    heard: watch::Receiver<Heard>,
    at: Bookmark,
    /// Free again when the answer has ended; none for a turn that was there already.
    _seat: Option<Place>,
}

struct Bookmark {
    has_snapshot: bool,
    told: usize,
    is_over: bool,
}

impl Ear {
    /// Ends without a last step on a line that is hung up: the turn goes on at the next start.
    async fn next(mut self) -> Option<(Step, Ear)> {
        if self.at.is_over {
            return None;
        }
        let heard = self.heard.wait_for(|heard| self.at.is_news(heard)).await.ok()?;
        let step = self.at.take(&heard);
        drop(heard);
        Some((step, self))
    }
}

impl Bookmark {
    fn is_news(&self, heard: &Heard) -> bool {
        !self.has_snapshot || heard.text.len() > self.told || heard.end.is_some()
    }

    fn take(&mut self, heard: &Heard) -> Step {
        let told = std::mem::replace(&mut self.told, heard.text.len());
        if !std::mem::replace(&mut self.has_snapshot, true) {
            return Step::Snapshot(heard.text.clone());
        }
        if heard.text.len() > told {
            return Step::Event(Event::Delta(heard.text[told..].to_owned()));
        }
        self.is_over = true;
        last(heard.end.clone().unwrap_or(End::Silent))
    }
}
