//! The message bus between nodes when Redis is far away: nobody who publishes waits, what is lost is counted, and the
//! lines heal by themselves.

use std::sync::Arc;
use std::time::Duration;

use parlor::bus::{Bus, Direction, Heard, Listener, Notice};
use parlor::store::redis::Address;
use parlor::telemetry::Metrics;

use super::proxy::{Proxy, Way};
use super::{fresh_prefix, server};

/// Far longer than a healthy line takes.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(50);

fn notice(content: &str) -> Notice {
    Notice {
        platform: "p".to_owned(),
        channel: "c".to_owned(),
        direction: Direction::In,
        conversation: "v".to_owned(),
        message_id: "m".to_owned(),
        person: "u".to_owned(),
        content: content.to_owned(),
        is_cut: false,
        timestamp: "1970-01-01T00:00:00Z".to_owned(),
        request_id: "r".to_owned(),
        via: None,
    }
}

struct Node {
    bus: Bus,
    metrics: Arc<Metrics>,
}

impl Node {
    fn join(channel: &str, url: &str) -> Node {
        let (server, metrics) = (Address::parse(url).unwrap(), Arc::new(Metrics::new()));
        Node { bus: Bus::relayed(channel, vec![server.info().clone()], metrics.clone()), metrics }
    }

    fn count(&self, outcome: &str) -> usize {
        let figures = self.metrics.encode();
        let start = format!("parlor_bus_notices_total{{outcome=\"{outcome}\"}} ");
        figures.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
    }

    /// Says something new until another node hears it; what comes in between is passed over.
    async fn is_heard_by(&self, listener: &mut Listener, word: &str) {
        let said = async {
            for number in 0.. {
                let content = format!("{word} {number}");
                self.bus.publish(notice(&content));
                let heard = async {
                    while let Some(heard) = listener.next().await {
                        if matches!(heard, Heard::Notice(notice) if notice.content == content) {
                            break;
                        }
                    }
                };
                if tokio::time::timeout(GLANCE, heard).await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("`{word}` was never heard"));
    }
}

#[tokio::test]
async fn a_redis_that_swallows_everything_holds_up_nobody_who_publishes_and_is_heard_again() {
    const MANY: usize = 2000;
    let channel = fresh_prefix();
    let proxy = Proxy::start(server::alone().url()).await;
    let (far, near) = (Node::join(&channel, &proxy.url), Node::join(&channel, server::alone().url()));
    let (mut at_far, mut at_near) = (far.bus.listen().unwrap(), near.bus.listen().unwrap());
    far.is_heard_by(&mut at_near, "hello").await;
    near.is_heard_by(&mut at_far, "hello you").await;
    assert_eq!(far.count("dropped"), 0);

    proxy.set(Way::Stuck);
    let mut own = far.bus.listen().unwrap();
    for number in 0..MANY {
        far.bus.publish(notice(&format!("swallowed {number}")));
        let Some(Heard::Notice(heard)) = own.next().await else {
            panic!("this node hears itself all the same")
        };
        assert_eq!(heard.content, format!("swallowed {number}"));
    }
    assert!(far.count("dropped") > MANY / 2, "the queue is bounded: {}", far.count("dropped"));

    proxy.set(Way::Open);
    far.is_heard_by(&mut at_near, "back").await;
    near.is_heard_by(&mut at_far, "back too").await;
    let told = far.count("dropped") + far.count("published");
    assert!(told >= MANY, "each notice is one or the other: {told}");
}

#[tokio::test]
async fn what_others_publish_on_the_channel_and_is_no_notice_is_passed_over() {
    let channel = fresh_prefix();
    let (one, other) =
        (Node::join(&channel, server::alone().url()), Node::join(&channel, server::alone().url()));
    let mut listener = other.bus.listen().unwrap();
    one.is_heard_by(&mut listener, "hello").await;
    let mut line = server::alone().line();
    for junk in ["", "{}", "[1]", "\u{0}", r#"{"platform":"p"}"#] {
        let _: usize = redis::cmd("PUBLISH").arg(&channel).arg(junk).query(&mut line).unwrap();
    }
    one.bus.publish(notice("after it"));
    let heard = tokio::time::timeout(PATIENCE, listener.next()).await.unwrap();
    assert!(matches!(&heard, Some(Heard::Notice(notice)) if notice.content == "after it"), "{heard:?}");
}

#[tokio::test]
async fn nodes_of_a_cluster_hear_each_other_wherever_they_are_connected() {
    let (channel, nodes) = (fresh_prefix(), server::cluster());
    let (one, other) = (Node::join(&channel, &nodes[0]), Node::join(&channel, &nodes[1]));
    let (mut at_one, mut at_other) = (one.bus.listen().unwrap(), other.bus.listen().unwrap());
    one.is_heard_by(&mut at_other, "hello").await;
    other.is_heard_by(&mut at_one, "hello you").await;
}
