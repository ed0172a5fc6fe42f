//! Many completions: side by side, in the queue, left alone, read slowly.

use std::time::{Duration, Instant};

use parlor_gguf::{Activity, Blocking, Config, Engine, Event, Finish, Request, Span, StartError};

use crate::{alone, ask, complete, config, count_on, engine, read, until};

/// Reads until some deltas have come.
fn read_some(events: &mut Blocking, deltas: usize) {
    for _ in 0..deltas {
        let event = events.next();
        assert!(matches!(event, Some(Event::Delta(_))), "{event:?}");
    }
}

fn single() -> Config {
    Config { sequences_max: 1, queue_max: 1, ..config() }
}

#[test]
fn the_deltas_of_two_streams_that_start_together_interleave() {
    const TOKENS: u32 = 24;
    let engine = engine();
    let before = engine.stats().steps;
    let (first, second) =
        (engine.start(count_on(TOKENS)), engine.start(ask("Tell me a long story about a dog.")));
    let (first, second) = (first.expect("there is room"), second.expect("there is room"));
    let arrivals = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (name, generation) in [('a', first), ('b', second)] {
            let arrivals = &arrivals;
            scope.spawn(move || {
                for event in generation.blocking() {
                    assert!(!matches!(event, Event::Failed(_)), "{event:?}");
                    arrivals.lock().unwrap().push(name);
                }
            });
        }
    });
    let arrivals = arrivals.into_inner().unwrap();
    let first_of = |name| arrivals.iter().position(|arrival| *arrival == name).unwrap();
    let last_of = |name| arrivals.iter().rposition(|arrival| *arrival == name).unwrap();
    assert!(first_of('a') < last_of('b') && first_of('b') < last_of('a'), "{arrivals:?}");
    // One after the other they would take a step for each token of either.
    let steps = engine.stats().steps - before;
    assert!(steps < u64::from(TOKENS) + 8, "{steps} steps: {arrivals:?}");
}

#[test]
fn a_client_that_leaves_frees_its_sequence_within_one_step() {
    let _alone = alone();
    let engine = Engine::load(&single()).expect("the model loads");
    let mut events = engine.start(count_on(200)).expect("there is room").blocking();
    read_some(&mut events, 3);
    drop(events);
    let left = engine.stats();
    let (_, done) = complete(&engine, ask("Say hello."));
    let after = engine.stats();
    assert_eq!(after.finished.cancelled, 1);
    // The step that was under way when it left, and then only those of the newcomer; its last token is in no batch.
    let for_the_gone =
        after.completion_tokens - left.completion_tokens - u64::from(done.completion_tokens - 1);
    assert!(for_the_gone <= 2, "{for_the_gone} tokens for nobody: {after:?}");
}

#[test]
fn a_client_that_leaves_in_the_midst_of_its_prompt_costs_one_chunk_at_most() {
    let _alone = alone();
    let engine = Engine::load(&single()).expect("the model loads");
    let long = Request { prompt: vec![Span::Text("word ".repeat(240))], ..count_on(10) };
    let generation = engine.start(long).expect("there is room");
    until(&engine, |engine| engine.stats().prompt_tokens > 0);
    drop(generation);
    let left = engine.stats().prompt_tokens;
    until(&engine, |engine| engine.stats().running == 0);
    assert!(
        engine.stats().prompt_tokens - left <= u64::from(2 * single().chunk_tokens),
        "{:?}",
        engine.stats()
    );
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let _alone = alone();
    let engine = Engine::load(&single()).expect("the model loads");
    let mut running = engine.start(count_on(200)).expect("there is room").blocking();
    read_some(&mut running, 1);
    let waiting = engine.start(count_on(3)).expect("one may wait");
    match engine.start(count_on(3)).err() {
        Some(StartError::Busy { retry_after }) => {
            assert!(
                (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&retry_after),
                "{retry_after:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting, stats.rejected), (1, 1, 1));
    // Whoever leaves the queue makes room at once, without a step.
    drop(waiting);
    let waiting = engine.start(count_on(3)).expect("there is room again");
    drop(running);
    assert_eq!(read(waiting).1.finish, Finish::Length);
}

#[test]
fn who_waits_beyond_its_deadline_is_told() {
    let _alone = alone();
    let engine = Engine::load(&single()).expect("the model loads");
    let mut running = engine.start(count_on(200)).expect("there is room").blocking();
    read_some(&mut running, 1);
    let soon = Instant::now() + Duration::from_millis(50);
    let waiting = engine.start(Request { deadline: Some(soon), ..count_on(3) }).expect("one may wait");
    let (text, done) = read(waiting);
    assert_eq!((text.as_str(), done.finish), ("", Finish::Deadline));
    assert_eq!(engine.stats().running, 1);
}

#[test]
fn who_runs_beyond_its_deadline_keeps_what_it_has_got() {
    let engine = engine();
    let soon = Instant::now() + Duration::from_millis(300);
    let (_, done) = complete(&engine, Request { deadline: Some(soon), ..count_on(220) });
    assert_eq!(done.finish, Finish::Deadline);
    assert!(done.completion_tokens < 220);
}

#[test]
fn a_slow_reader_is_parked_while_its_neighbour_goes_on() {
    let engine = engine();
    let slow = engine.start(count_on(50)).expect("there is room");
    until(&engine, |engine| engine.stats().parked == 1);
    let parked = engine.stats();
    let (_, done) = complete(&engine, ask("Tell me a long story about a cat."));
    let after = engine.stats();
    assert_eq!(after.parked, 1);
    // All the tokens since then are the neighbour's; the last one is in no batch.
    assert!(after.completion_tokens - parked.completion_tokens <= u64::from(done.completion_tokens));
    let (text, done) = read(slow);
    assert_eq!((done.finish, done.completion_tokens), (Finish::Length, 50));
    assert_eq!(text, complete(&engine, count_on(50)).0);
}

#[test]
fn a_slow_reader_on_an_otherwise_idle_engine_is_heard_when_it_reads_on() {
    let engine = engine();
    let slow = engine.start(count_on(40)).expect("there is room");
    until(&engine, |engine| engine.stats().parked == 1);
    let steps = engine.stats().steps;
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(engine.stats().steps, steps, "a parked sequence takes no steps");
    assert_eq!(read(slow).1.completion_tokens, 40);
}

#[test]
fn a_parked_reader_that_leaves_frees_its_sequence() {
    let engine = engine();
    let slow = engine.start(count_on(200)).expect("there is room");
    until(&engine, |engine| engine.stats().parked == 1);
    drop(slow);
    until(&engine, |engine| {
        engine.stats().sequences.iter().all(|sequence| sequence.activity == Activity::Idle)
    });
}

#[test]
fn many_more_than_there_are_sequences_all_end_well() {
    let engine = engine();
    let requests =
        (0..12).map(|n| Request { max_tokens: 2 + n % 5, ..ask(&format!("What is {n} plus one?")) });
    let generations: Vec<_> = requests.map(|request| engine.start(request).expect("they may wait")).collect();
    for generation in generations {
        let (_, done) = read(generation);
        assert!(matches!(done.finish, Finish::Stop | Finish::Length), "{done:?}");
    }
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting, stats.finished.failed), (0, 0, 0));
    assert!(stats.sequences.iter().all(|sequence| sequence.steps > 0), "{stats:?}");
}

#[test]
fn an_engine_that_is_dropped_tells_all_who_wait() {
    let _alone = alone();
    let engine = Engine::load(&single()).expect("the model loads");
    let mut running = engine.start(count_on(200)).expect("there is room").blocking();
    read_some(&mut running, 1);
    let mut waiting = engine.start(count_on(200)).expect("one may wait").blocking();
    drop(engine);
    let is_cancelled = |event| matches!(event, Some(Event::Done(done)) if done.finish == Finish::Cancelled);
    assert!(is_cancelled(running.find(|event| !matches!(event, Event::Delta(_)))));
    assert!(is_cancelled(waiting.next()) && waiting.next().is_none());
}
