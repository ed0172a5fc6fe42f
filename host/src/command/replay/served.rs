//! Dead letters of a host that serves, through its admin door.

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::Letter;
use crate::command::door::{Door, Refused};

const LETTERS: &str = "dead-letters";
/// Read at a time.
const PIECE: u32 = 200;

pub(super) struct Served(pub(super) Door);

#[derive(Deserialize)]
struct Piece {
    items: Vec<Letter>,
    next: Option<String>,
}

impl Served {
    pub(super) async fn list(&self, channel: Option<&str>) -> anyhow::Result<Vec<Letter>> {
        let (mut letters, mut after) = (Vec::new(), None);
        loop {
            let mut url = self.0.at(&[LETTERS])?;
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &PIECE.to_string());
            query.extend_pairs(channel.map(|channel| ("channel", channel)));
            query.extend_pairs(after.as_deref().map(|after: &str| ("after", after)));
            drop(query);
            let piece: Piece = self.0.read(self.0.request(Method::GET, url)).await?;
            letters.extend(piece.items);
            match piece.next {
                Some(next) => after = Some(next),
                None => return Ok(letters),
            }
        }
    }

    pub(super) async fn replay(&self, letter: i64, asks: bool) -> anyhow::Result<bool> {
        let url = self.0.at(&[LETTERS, &letter.to_string(), "replay"])?;
        let how = serde_json::json!({ "ask_again": asks });
        match self.0.send(self.0.request(Method::POST, url).json(&how)).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == StatusCode::NOT_FOUND)
}
