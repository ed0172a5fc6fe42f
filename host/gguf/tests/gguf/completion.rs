//! One completion: what comes out, and how it ends.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use futures_core::Stream;
use parlor_gguf::{Event, Finish, Request, Span, StartError, system_info};

use crate::{CONTEXT_TOKENS, ask, complete, count_on, engine, finish};

#[test]
#[cfg(target_arch = "x86_64")]
fn ggml_is_built_with_wide_vectors() {
    let info = system_info();
    assert!(info.contains("AVX2 = 1") || info.contains("AVX512 = 1"), "{info}");
}

#[test]
fn the_file_tells_its_template_and_its_tokens() {
    let engine = engine();
    let metadata = engine.metadata();
    assert_eq!(metadata.architecture, "llama");
    assert!(metadata.chat_template.as_ref().is_some_and(|template| template.contains("<|im_start|>")));
    assert_eq!((metadata.bos.as_str(), metadata.eos.as_str()), ("<|im_start|>", "<|im_end|>"));
    assert!(metadata.context_trained >= 2048 && metadata.parameters > 100_000_000, "{metadata:?}");
}

#[test]
fn temperature_zero_gives_one_text_twice_the_second_time_from_the_cache() {
    let engine = engine();
    let question = || ask("What is the capital of France? Answer in one sentence.");
    let (first, _) = complete(&engine, question());
    let (second, done) = complete(&engine, question());
    assert!(first.contains("Paris"), "{first}");
    assert_eq!(first, second);
    assert_eq!(done.cached_tokens, done.prompt_tokens - 1);
}

#[test]
fn a_longer_talk_with_the_same_beginning_is_not_computed_anew() {
    let engine = engine();
    let mut request = ask("Name one colour of the rainbow.");
    let (answer, first) = complete(&engine, request.clone());
    request.prompt.push(Span::Control(answer));
    request.prompt.push(Span::Control("<|im_end|>\n<|im_start|>user\n".to_owned()));
    request.prompt.push(Span::Text("Name another one.".to_owned()));
    request.prompt.push(Span::Control("<|im_end|>\n<|im_start|>assistant\n".to_owned()));
    let (_, second) = complete(&engine, request);
    assert!(second.cached_tokens >= first.prompt_tokens, "{second:?} after {first:?}");
}

#[test]
fn one_seed_gives_one_text_and_another_seed_another() {
    let engine = engine();
    let tell = |seed| {
        let request = Request { temperature: 1.2, seed: Some(seed), ..ask("Tell me a story.") };
        complete(&engine, request).0
    };
    let first = tell(1);
    // The first run computed its prompt in chunks of another shape than those that find it in the cache.
    let (second, third, other) = (tell(1), tell(1), tell(2));
    assert_eq!(second, third);
    assert!(other != first && other != second, "{other}");
}

#[test]
fn max_tokens_ends_it_by_length() {
    let engine = engine();
    let (text, done) = complete(&engine, count_on(5));
    assert_eq!((done.finish, done.completion_tokens), (Finish::Length, 5));
    assert!(!text.is_empty());
}

#[test]
fn a_full_context_ends_it_by_length() {
    let engine = engine();
    let words = "word ".repeat(CONTEXT_TOKENS as usize - 6);
    let request = Request { prompt: vec![Span::Text(words)], ..count_on(1000) };
    let prompt_tokens = engine.prompt_tokens(&request.prompt).expect("it fits");
    let (_, done) = complete(&engine, request);
    // The last token is chosen from the last cell, and needs none itself.
    assert_eq!((done.finish, done.completion_tokens), (Finish::Length, CONTEXT_TOKENS - prompt_tokens + 1));
}

#[test]
fn a_stop_string_ends_it_across_tokens_and_is_never_shown() {
    let engine = engine();
    let (whole, _) = complete(&engine, count_on(24));
    // Numbers come digit by digit, so this spans at least four tokens.
    let stop = " 22 23".to_owned();
    let (before, _) = whole.split_once(&stop).expect("the model counts on");
    let (text, done) = complete(&engine, Request { stop: vec![stop.clone()], ..count_on(24) });
    assert_eq!((text.as_str(), done.finish), (before, Finish::Stop));
    assert!(done.completion_tokens > 4);
}

#[test]
fn what_only_begins_like_a_stop_string_is_shown() {
    let engine = engine();
    let (whole, _) = complete(&engine, count_on(24));
    let stop = vec![" 22 99".to_owned(), " 19 20 x".to_owned()];
    assert_eq!(complete(&engine, Request { stop, ..count_on(24) }).0, whole);
}

#[test]
fn a_control_token_that_a_person_writes_stays_text() {
    let engine = engine();
    let tokens = |prompt: &[Span]| engine.prompt_tokens(prompt).expect("it fits");
    let control = |text: &str| Span::Control(text.to_owned());
    let text = |text: &str| Span::Text(text.to_owned());
    assert_eq!(tokens(&[control("<|im_end|>")]), 1);
    assert!(tokens(&[text("<|im_end|>")]) > 1);
    // Nor can it be put together from two pieces, or from a piece and the template's next word.
    assert!(tokens(&[text("<|im_"), text("end|>")]) > 1);
    assert!(tokens(&[text("<|im_end"), control("|>")]) > 1);
    // The template's own tokens around it stay what they are: two here, and what the text has alone.
    let around = tokens(&[control("<|im_start|>"), text("<|im_end|>"), control("<|im_end|>")]);
    assert_eq!(around, 2 + tokens(&[text("<|im_end|>")]));
}

#[test]
fn an_honest_text_is_tokenised_as_one_with_its_template() {
    let engine = engine();
    let tokens = |prompt: &[Span]| engine.prompt_tokens(prompt).expect("it fits");
    let whole = "<|im_start|>user\nhello there<|im_end|>\n";
    let apart = [
        Span::Control("<|im_start|>us".to_owned()),
        Span::Text("er\nhello th".to_owned()),
        Span::Control("ere<|im_end|>\n".to_owned()),
    ];
    assert_eq!(tokens(&apart), tokens(&[Span::Control(whole.to_owned())]));
}

#[test]
fn a_prompt_beyond_the_context_says_how_long_it_is() {
    let engine = engine();
    let words = Request { prompt: vec![Span::Text("word ".repeat(2000))], ..Request::default() };
    match engine.start(words).err() {
        Some(StartError::ContextExceeded { prompt_tokens, context_tokens }) => {
            assert_eq!(context_tokens, CONTEXT_TOKENS);
            assert!((2000..2010).contains(&prompt_tokens), "{prompt_tokens}");
        }
        other => panic!("{other:?}"),
    }
    let flood = Request { prompt: vec![Span::Text("x".repeat(2 << 20))], ..Request::default() };
    assert!(matches!(engine.start(flood).err(), Some(StartError::PromptTooLarge { .. })));
}

#[test]
fn a_request_out_of_bounds_is_refused_by_field() {
    let engine = engine();
    let refused = |request: Request| match engine.start(request).err() {
        Some(StartError::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Request { max_tokens: 0, ..count_on(1) }), "max_tokens");
    assert_eq!(refused(Request { temperature: f32::NAN, ..count_on(1) }), "temperature");
    assert_eq!(refused(Request { top_p: 0.0, ..count_on(1) }), "top_p");
    assert_eq!(refused(Request { min_p: 1.0, ..count_on(1) }), "min_p");
    assert_eq!(refused(Request { stop: vec![String::new()], ..count_on(1) }), "stop");
    assert_eq!(engine.start(Request::default()).err(), Some(StartError::EmptyPrompt));
}

#[test]
fn a_deadline_in_the_past_ends_it_before_anything_is_computed() {
    let engine = engine();
    let before = engine.stats();
    assert_eq!(finish(&engine, Request { deadline: Some(Instant::now()), ..count_on(4) }), Finish::Deadline);
    let after = engine.stats();
    assert_eq!((after.steps, after.prompt_tokens), (before.steps, before.prompt_tokens));
    assert_eq!(after.finished.deadline, before.finished.deadline + 1);
}

#[test]
fn a_schema_makes_it_json_that_fits() {
    let engine = engine();
    let schema = r#"{
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 12 },
            "age": { "type": "integer", "minimum": 1, "maximum": 120 },
            "pattern": { "enum": ["happy", "sad"] }
        },
        "required": ["name", "age", "pattern"],
        "additionalProperties": false
    }"#;
    for temperature in [0.0, 1.5] {
        let request = Request {
            json_schema: Some(schema.to_owned()),
            max_tokens: 100,
            temperature,
            seed: Some(3),
            ..ask("Describe a person named Bob as JSON.")
        };
        let (text, done) = complete(&engine, request);
        let json: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(done.finish, Finish::Stop);
        assert!(json["name"].as_str().is_some_and(|name| name.chars().count() <= 12), "{json}");
        assert!(json["age"].as_u64().is_some_and(|age| (1..=120).contains(&age)), "{json}");
        assert!(json["pattern"] == "happy" || json["pattern"] == "sad", "{json}");
    }
}

#[test]
fn a_schema_that_is_none_is_refused() {
    let engine = engine();
    let deep = format!("{}{{}}{}", r#"{"items":"#.repeat(100_000), "}".repeat(100_000));
    let nested = format!("{}{{}}{}", r#"{"items":"#.repeat(1_000), "}".repeat(1_000));
    for schema in [
        "{",
        "[]",
        r##"{"$ref": "#/$defs/nothing"}"##,
        r##"{"$ref": "#"}"##,
        r#"{"type": "string", "minLength": 100000000}"#,
        r#"{"type": "string", "minLength": 9, "maxLength": 3}"#,
        r#"{"type": "integer", "minimum": 9, "maximum": 3}"#,
        r#"{"properties": {"pattern": {"type": "string", "pattern": "^a+$"}}}"#,
        &deep,
        &nested,
    ] {
        let request = Request { json_schema: Some(schema.to_owned()), ..count_on(1) };
        let error = engine.start(request).err();
        let start = schema.chars().take(60).collect::<String>();
        assert!(matches!(error, Some(StartError::Schema(_))), "{start}: {error:?}");
    }
}

/// llama.cpp passes over what it has no rule for, and the answer would look as if it were held to it.
#[test]
fn a_keyword_that_no_grammar_holds_is_refused_by_its_name() {
    let engine = engine();
    for (schema, name) in [
        (r#"{"type": "number", "minimum": 0, "maximum": 1}"#, "`minimum`"),
        (r#"{"type": ["number", "null"], "exclusiveMaximum": 1}"#, "`exclusiveMaximum`"),
        (r#"{"maximum": 1}"#, "`maximum`"),
        (r#"{"type": "integer", "multipleOf": 5}"#, "`multipleOf`"),
        (r#"{"type": "array", "items": {"type": "integer"}, "uniqueItems": true}"#, "`uniqueItems`"),
        (r#"{"type": "object", "minProperties": 1}"#, "`minProperties`"),
        (r#"{"type": "string", "not": {"const": "no"}}"#, "`not`"),
        (
            r#"{"properties": {"a": {"type": "object", "propertyNames": {"maxLength": 2}}}}"#,
            "`propertyNames`",
        ),
        (r#"{"type": "object", "required": ["a"]}"#, "`required` names `a`"),
        (r#"{"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]}"#, "`anyOf` beside `properties`"),
        (
            r##"{"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a", "enum": ["x"]}"##,
            "`$ref` beside `enum`",
        ),
    ] {
        let request = Request { json_schema: Some(schema.to_owned()), ..count_on(1) };
        let error = engine.start(request).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(name), "{schema}: {error}");
    }
    for schema in [
        r#"{"type": ["integer", "null"], "minimum": 0}"#,
        r#"{"type": "array", "items": {"type": "integer"}, "minItems": 1, "uniqueItems": false}"#,
        r#"{"title": "A", "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": null}"#,
        r##"{"$defs": {"not": {"type": "string"}}, "$ref": "#/$defs/not", "description": "if"}"##,
        r#"{"type": "object", "properties": {"pattern": {"type": "string"}}, "required": ["pattern"]}"#,
        r#"{"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "maxItems": 2}"#,
    ] {
        let request = Request { json_schema: Some(schema.to_owned()), ..count_on(1) };
        assert!(engine.start(request).is_ok(), "{schema}");
    }
}

#[test]
fn a_task_that_polls_is_woken_for_each_event() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let engine = engine();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut generation = pin!(engine.start(count_on(5)).expect("the engine takes it"));
    let mut events = Vec::new();
    loop {
        match generation.as_mut().poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(event)) => events.push(event),
            Poll::Ready(None) => break,
            Poll::Pending => std::thread::park(),
        }
    }
    let (last, deltas) = events.split_last().expect("there are events");
    assert!(matches!(last, Event::Done(done) if done.completion_tokens == 5), "{last:?}");
    assert!(!deltas.is_empty() && deltas.iter().all(|event| matches!(event, Event::Delta(_))), "{deltas:?}");
}
