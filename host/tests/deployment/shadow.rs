//! Candidates of a pipeline that nothing is said of: what they make of each turn is compared and counted.

use serde_json::json;

use crate::support::fickle;
use crate::{Stage, until};

/// Brings a shadow of the pipeline.
async fn shadowed(stable: &str, shadow: &str) -> Stage {
    let stage = Stage::with_pipeline(stable).await;
    let (status, outcome) = stage.install("?shadow=true", fickle::pipeline("0.2.0", shadow)).await;
    assert_eq!((status, outcome["outcome"].as_str()), (200, Some("on-trial")), "{outcome}");
    stage
}

#[tokio::test]
async fn a_pipeline_in_shadow_begins_each_turn_and_nothing_of_it_is_said_or_asked() {
    const TURNS: usize = 10;
    let stage = shadowed("sound", "answers").await;
    for id in 0..TURNS {
        assert_eq!(stage.say(&format!("c{id}"), &format!("m{id}")).await, "first");
    }
    let candidate = until("the shadow is compared", async || {
        let candidate = stage.deployment_of("fitful").await["candidate"].clone();
        (candidate["other_steps"].as_u64() >= Some(5)).then_some(candidate)
    })
    .await;
    assert!(candidate["calls"].as_u64() >= Some(10), "its constructor and `begin`: {candidate}");
    assert_eq!((&candidate["bad"], &candidate["faults"]), (&json!(0), &json!(0)), "{candidate}");
    let asked = stage.figures("parlor_model_calls_total").await;
    assert_eq!(asked, [format!("parlor_model_calls_total{{model=\"echo\",outcome=\"ok\"}} {TURNS}")]);
}

#[tokio::test]
async fn a_pipeline_that_does_badly_in_its_shadow_goes() {
    for (mood, why) in [("traps", "trapped"), ("faults", "failed"), ("slow", "own time")] {
        let stage = shadowed("sound", mood).await;
        let mut id = 0;
        while stage.deployment_of("fitful").await["candidate"].is_object() {
            assert_eq!(stage.say(&format!("c{id}"), &format!("m{id}")).await, "first");
            id += 1;
            assert!(id < 2_000, "`{mood}` is still on trial");
        }
        let reason = stage.quarantined_of("fitful").await;
        assert!(reason.contains(why), "{mood}: {reason}");
    }
}

#[tokio::test]
async fn a_shadow_that_would_send_or_remember_is_not_counted_and_does_not() {
    for mood in ["counts", "sends"] {
        let stage = shadowed("counts", mood).await;
        for turn in 1..=10 {
            let id = format!("m{turn}");
            assert_eq!(stage.answer("c", &id).await["text"], format!("hello {id} {turn}"), "{mood}");
        }
        stage.host.wait_for_line(&["that call says nothing"]).await;
        let candidate = stage.deployment_of("fitful").await["candidate"].clone();
        assert_eq!((&candidate["calls"], &candidate["other_steps"]), (&json!(0), &json!(0)), "{candidate}");
    }
}

#[tokio::test]
async fn a_shadow_reads_what_the_stable_release_remembers() {
    let stage = shadowed("counts", "reads").await;
    assert_eq!(stage.answer("c", "m1").await["text"], "hello m1 1");
    let candidate = until("the shadow has begun", async || {
        let candidate = stage.deployment_of("fitful").await["candidate"].clone();
        (candidate["calls"] == 2).then_some(candidate)
    })
    .await;
    assert_eq!((&candidate["other_steps"], &candidate["bad"]), (&json!(0), &json!(0)), "{candidate}");
}
