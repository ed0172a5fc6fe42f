//! A disk that takes no more, in two ways: the kernel's bound on this process's files, and a small file system.
//!
//! What was accepted is answered once, what was not stored is not acknowledged, and nothing needs a restart.

use std::process::Command;

use super::support::{self, Host, Model, Platform, Settings, SmallDisk, client, eventually};
use super::{TEAM, answers, holds, sees};

/// A disk that has no room: how it is filled and freed while the host runs.
trait Disk {
    fn fill(&self, host: &Host);
    fn free(&self, host: &Host);
}

/// The kernel refuses to make this process's files longer.
struct NoLongerFiles;

impl NoLongerFiles {
    /// A shell that ignores the signal of the limit and becomes the host.
    fn command(host: &Host) -> Command {
        let serve = host.command(&["serve"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(serve.get_program()).args(serve.get_args());
        shell
    }

    fn limit(host: &Host, bytes: Option<u64>) {
        let process = rustix::process::Pid::from_raw(i32::try_from(host.process_id()).unwrap());
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(process, rustix::process::Resource::Fsize, limit).unwrap();
    }
}

impl Disk for NoLongerFiles {
    fn fill(&self, host: &Host) {
        Self::limit(host, Some(1));
    }

    fn free(&self, host: &Host) {
        Self::limit(host, None);
    }
}

impl Disk for SmallDisk {
    fn fill(&self, host: &Host) {
        SmallDisk::fill(host);
    }

    fn free(&self, host: &Host) {
        SmallDisk::free(host);
    }
}

/// Readiness comes back by itself: until then nobody sends a message that could bring it back.
async fn eventually_ready(host: &Host) {
    let began = std::time::Instant::now();
    while client().get(host.url("/ready")).send().await.unwrap().status() != 200 {
        assert!(began.elapsed() < support::PATIENCE, "the host does not get ready again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// When the disk is full, one message waits for the model, one is just being delivered, and one comes in.
async fn a_full_disk_is_survived(disk: &dyn Disk, command: impl Fn(&Host) -> Command) {
    let (platform, model) = (Platform::start().await, Model::start().await);
    let mut host = Host::at_rest(&model.join(platform.join(Settings::new())));
    let command = command(&host);
    host.begin_with(command);
    host.serves().await;
    answers(&host, &platform, "canary before").await;
    model.hold("canary waits");
    assert_eq!(platform.group("ours", "canary waits").post(&host.url(TEAM)).await, Some(200));
    eventually("the turn asks", || (model.times_asked("canary waits") == 1).then_some(())).await;
    platform.mute(true);
    assert_eq!(platform.direct("bob", "canary on its way").post(&host.url(TEAM)).await, Some(200));
    eventually("the answer is sent", || (!platform.seen("bob").is_empty()).then_some(())).await;

    let during = platform.direct("ann", "canary during");
    let mut refused = 0;
    // What fits into room that was there already, or that the host gives itself, may still be stored; it is never
    // told so otherwise.
    while refused < 5 {
        disk.fill(&host);
        let extra = platform.direct("eve", &format!("canary {}", "much ".repeat(2000)));
        match extra.post(&host.url(TEAM)).await {
            Some(503) => refused += 1,
            other => assert_eq!(other, Some(200), "stored or not, and nothing else"),
        }
    }
    disk.fill(&host);
    assert_eq!(during.post(&host.url(TEAM)).await, Some(503));
    let ready = client().get(host.url("/ready")).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    holds(&ready.text().await.unwrap(), &["the last message could not be stored"]);
    model.release("canary waits");
    platform.mute(false);
    let unstored = "cannot be stored yet";
    eventually("both turns wait", || (host.lines_with(unstored).len() == 2).then_some(())).await;

    disk.free(&host);
    eventually_ready(&host).await;
    let attempts = during.deliver(host.whereabouts(), TEAM).await.unwrap();
    assert!(attempts < 20, "it works as soon as there is room");
    sees(&platform, "canary during").await;
    for (conversation, text) in [("ours", "canary waits"), ("bob", "canary on its way")] {
        // Turns of a conversation run in order: with this one answered, those before it have ended.
        assert_eq!(platform.group(conversation, "canary last").post(&host.url(TEAM)).await, Some(200));
        let last = Model::answer_to("canary last");
        let seen = eventually("the last answer", || {
            Some(platform.seen(conversation))
                .filter(|seen| seen.last().is_some_and(|seen| seen.ends_with(&last)))
        });
        assert_eq!(seen.await.len(), 2, "nothing is lost, and nothing is sent again");
        assert_eq!(model.times_asked(text), 1);
    }
    host.terminate();
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_disk_that_takes_no_more_is_told_and_survived() {
    a_full_disk_is_survived(&NoLongerFiles, NoLongerFiles::command).await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    if SmallDisk::is_possible() {
        a_full_disk_is_survived(&SmallDisk, SmallDisk::command).await;
    } else {
        a_full_disk_is_survived(&NoLongerFiles, NoLongerFiles::command).await;
    }
}
