//! The hosts of a run, and what keeps them: whoever dies is started again after a while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::node::{GRACE, Node, Plugins};
use super::world::{Life, World};

/// How long a host is down, in milliseconds: from a quick restart to one past the lease of what it had.
const DOWN_MS: (u64, u64) = (100, 40_000);

#[derive(Debug, Default)]
pub struct Nodes {
    up: Mutex<Vec<Option<Node>>>,
    starts: AtomicU32,
}

impl Nodes {
    fn up(&self) -> MutexGuard<'_, Vec<Option<Node>>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of those that take webhooks now.
    pub fn some(&self, world: &World) -> Option<Node> {
        let up = self.up();
        let up: Vec<&Node> = up.iter().flatten().filter(|node| !node.life.is_over()).collect();
        if up.is_empty() { None } else { Some(world.chance.pick(&up).clone()) }
    }

    fn set(&self, place: usize, node: Option<Node>) {
        self.up()[place] = node;
    }

    /// Starts all hosts, and keeps each.
    pub fn start(world: &Arc<World>, plugins: &Arc<Plugins>) -> Arc<Nodes> {
        let nodes = Arc::new(Nodes::default());
        *nodes.up() = vec![None; world.weather.nodes];
        for place in 0..world.weather.nodes {
            tokio::spawn(nodes.clone().keep(place, world.clone(), plugins.clone()));
        }
        if world.weather.reloads {
            tokio::spawn(swap(world.clone(), nodes.clone()));
        }
        nodes
    }

    async fn keep(self: Arc<Self>, place: usize, world: Arc<World>, plugins: Arc<Plugins>) {
        loop {
            let life = Life::new(place, self.starts.fetch_add(1, Ordering::Relaxed), world.own_clock());
            let node = Node::start(&world, &plugins, life.clone());
            self.set(place, Some(node.clone()));
            tokio::select! {
                biased;
                () = life.over() => {}
                () = restart(&world) => self.stop(place, &world, &node).await,
            }
            self.set(place, None);
            world.pause(DOWN_MS.0, DOWN_MS.1).await;
        }
    }

    /// Ends a host as an operator does, or as a power cut does.
    async fn stop(&self, place: usize, world: &World, node: &Node) {
        if world.chance.strikes(500) {
            self.set(place, None);
            world.tell(format!("n{place} drains"));
            let late = node.drain.drain(GRACE).await;
            world.tell(format!("n{place} is drained but for {late:?}"));
            world.count(if late.is_empty() { "drained" } else { "drained late" });
        }
        if !node.life.is_over() {
            world.kill(&node.life, "its end");
        }
    }
}

/// Returns when a host is to be ended, if ever.
async fn restart(world: &World) {
    while world.is_stormy() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.strikes("host ended", world.weather.restart) {
            return;
        }
    }
    std::future::pending().await
}

async fn swap(world: Arc<World>, nodes: Arc<Nodes>) {
    while world.is_stormy() {
        world.pause(500, 5_000).await;
        if let Some(node) = nodes.some(&world) {
            node.swap(&world).await;
        }
    }
}
