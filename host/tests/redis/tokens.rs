//! Minted tokens on a real Redis: shared by its nodes, and minted by each alone while it is gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use parlor::clock::SystemClock;
use parlor::egress::{Egress, Network, Request};
use parlor::message::HttpResponse;
use parlor::plugin::manifest::Manifest;
use parlor::plugin::secrets::Secrets;
use parlor::plugin::services::{Http, HttpFailure, Outbound};
use parlor::store::redis::{Options, RedisStore, Settings, TIMEOUT, Time};
use serde_json::json;

use crate::server::{Server, quick_folder};
use crate::{alone, fresh_prefix, open, settings, vault};

const MANIFEST: &str = r#"
name = "sample"
version = "0.1.0"
kind = "adapter"
contract = "0.1"
license = "Apache-2.0"
description = "a sample"

[[egress]]
host = "api.example.com"
methods = ["GET"]
places = ["token:access@header:x-token"]

[[tokens]]
name = "access"
method = "POST"
url = "https://auth.example.com/mint"
value = "/token"
lifetime-default = "2h"
"#;

/// Mints `token-1`, `token-2` and so on, and knows with which it was called.
#[derive(Debug, Default)]
struct Origin {
    minted: AtomicUsize,
    used: Mutex<Vec<String>>,
}

#[async_trait]
impl Network for Origin {
    async fn exchange(&self, request: Request) -> Result<HttpResponse, HttpFailure> {
        let mut body = json!({});
        if request.url.path() == "/mint" {
            let number = self.minted.fetch_add(1, Ordering::Relaxed) + 1;
            body = json!({ "token": format!("token-{number}") });
        }
        let token = request.headers.into_iter().find(|(name, _)| name == "x-token");
        self.used.lock().unwrap().extend(token.map(|(_, value)| value));
        Ok(HttpResponse { status: 200, headers: Vec::new(), body: body.to_string().into() })
    }
}

fn node(origin: &Arc<Origin>, store: RedisStore) -> Arc<dyn Http> {
    let egress = Egress::over(origin.clone());
    let egress = egress.sharing(Arc::new(store), Arc::new(SystemClock), vault());
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let secrets = Arc::new(Secrets::new(&manifest, &BTreeMap::new()));
    egress.gate(&manifest, &BTreeMap::new(), secrets)
}

fn with_token() -> Outbound {
    Outbound {
        method: "GET".to_owned(),
        url: "https://api.example.com/".to_owned(),
        headers: vec![("x-token".to_owned(), "${token:access}".to_owned())],
        ..Outbound::default()
    }
}

#[tokio::test]
async fn nodes_mint_once() {
    let (origin, prefix) = (Arc::new(Origin::default()), fresh_prefix());
    let nodes = [node(&origin, open(alone(&prefix)).await), node(&origin, open(alone(&prefix)).await)];
    let (one, other) = tokio::join!(nodes[0].send(with_token()), nodes[1].send(with_token()));
    one.and(other).unwrap();
    assert_eq!(*origin.used.lock().unwrap(), ["token-1", "token-1"]);
}

#[tokio::test]
async fn a_node_mints_by_itself_while_redis_is_gone() {
    let folder = quick_folder();
    let server = Server::start(folder.path(), &["--appendonly", "yes"]);
    let options = Options { timeout: TIMEOUT, time: Time::Caller };
    let in_service = Settings { options, ..settings(&[server.url()], "t") };
    let origin = Arc::new(Origin::default());
    let node = node(&origin, open(in_service).await);
    server.kill();
    for _ in 0..2 {
        node.send(with_token()).await.unwrap();
    }
    assert_eq!(*origin.used.lock().unwrap(), ["token-1", "token-1"]);
}
