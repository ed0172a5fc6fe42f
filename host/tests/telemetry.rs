//! What reaches an operator: lines that stay lines, figures with bounded labels, ids that tie them together.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use parlor::telemetry::log::{self, FIELD_BYTES_MAX, Format};
use parlor::telemetry::metrics::{Metrics, Names};
use parlor::telemetry::{self, request_id};
use proptest::prelude::*;
use serde_json::{Map, Value};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while something is done.
fn logged(format: Format, filter: &str, work: impl FnOnce()) -> String {
    let lines = Lines::default();
    tracing::subscriber::with_default(log::subscriber(format, filter, lines.clone()).unwrap(), work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn only_object(text: &str) -> Map<String, Value> {
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "not one line: {text:?}");
    match serde_json::from_str(text).unwrap() {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the turn failed")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("the model is gone")]
struct Inner;

#[test]
fn a_json_line_has_ecs_names_and_the_fields_of_all_spans() {
    let text = logged(Format::Json, "info", || {
        let request = tracing::info_span!(
            "request",
            request_id = "r-1",
            channel = "team",
            person = tracing::field::Empty
        );
        request.record("person", "1f2e");
        let _request = request.entered();
        let _turn = tracing::info_span!("turn", channel = "ops", attempt = 2_u64).entered();
        let error = Outer(Inner);
        tracing::warn!(
            event.action = "answer",
            error = &error as &dyn std::error::Error,
            error_type = "model",
            share = 0.5,
            last = true,
            offset = -3,
            "the answer failed"
        );
    });
    let line = only_object(&text);
    let names: Vec<&str> = line.keys().map(String::as_str).collect();
    assert_eq!(names[..4], ["@timestamp", "log.level", "message", "ecs.version"]);
    let has = |name: &str, value: Value| assert_eq!(line.get(name), Some(&value), "{name} in {text}");
    has("log.level", "warn".into());
    has("message", "the answer failed".into());
    has("service.name", "parlor".into());
    has("service.version", env!("CARGO_PKG_VERSION").into());
    has("http.request.id", "r-1".into());
    has("user.hash", "1f2e".into());
    has("labels.channel", "ops".into());
    has("labels.attempt", 2.into());
    has("labels.offset", (-3).into());
    has("labels.share", 0.5.into());
    has("labels.last", true.into());
    has("event.action", "answer".into());
    has("error.message", "the turn failed: the model is gone".into());
    has("error.type", "model".into());
    let time = line["@timestamp"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.starts_with("20"), "{time}");
}

#[test]
fn nobody_but_the_writer_sets_the_head_of_a_line() {
    let text =
        logged(Format::Json, "info", || tracing::info!(log.level = "fatal", service.name = "other", "hello"));
    let line = only_object(&text);
    assert_eq!(line["log.level"], "info");
    assert_eq!(line["service.name"], "parlor");
    assert_eq!(line["labels.log.level"], "fatal");
}

#[test]
fn the_request_follows_a_line_whatever_the_filter() {
    let text = logged(Format::Json, "warn", || {
        let _request = tracing::info_span!("request", request_id = "r-9").entered();
        tracing::info!("quiet");
        tracing::warn!("loud");
    });
    let line = only_object(&text);
    assert_eq!((line["message"].as_str(), line["http.request.id"].as_str()), (Some("loud"), Some("r-9")));
}

#[test]
fn a_long_value_is_cut_and_says_so() {
    let long = "吃".repeat(1_000_000);
    let text = logged(Format::Json, "info", || tracing::info!(long, debug = ?long, "{long}"));
    let line = only_object(&text);
    for name in ["labels.long", "labels.debug", "message"] {
        let value = line[name].as_str().unwrap();
        assert!(value.len() <= FIELD_BYTES_MAX + 40, "{name}: {} bytes", value.len());
        assert!(value.ends_with(" bytes cut)") && value.contains('吃'), "{name}");
    }
}

#[test]
fn a_plain_line_is_for_people() {
    let text = logged(Format::Plain, "info", || {
        let _turn = tracing::info_span!("turn", channel = "team").entered();
        tracing::info!(target: "parlor::turn", note = "two words", empty = "", count = 3, "an \x1b[31manswer\r\n");
    });
    let (_, said) = text.split_once("Z  INFO ").expect(&text);
    assert_eq!(said, "an \\u{1b}[31manswer\\r\\n channel=team note=\"two words\" empty=\"\" count=3\n");
}

#[test]
fn a_wrong_filter_is_refused() {
    let error = log::subscriber(Format::Plain, "parlor=loud", io::sink()).err().unwrap();
    assert!(error.to_string().contains("`parlor=loud`"), "{error}");
}

/// Any text, with what breaks lines, terminals and JSON more often than chance has it.
fn wild() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\r\n",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{9b}31m",
        "\x1b[2J",
        "\x7f",
        "\0",
        "\"}",
        "\\",
        "\u{202e}",
        "\u{feff}",
        "\u{e0041}",
        "\t",
        "{\"log.level\":\"fatal\"}",
        "😀",
        "吃",
    ]);
    prop::collection::vec(prop_oneof![nasty.prop_map(str::to_owned), any::<String>()], 0..12)
        .prop_map(|parts| parts.concat())
}

fn breaks_lines(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202e}')
}

proptest! {
    #[test]
    fn every_line_is_one_json_object_that_says_what_was_said(message in wild(), value in wild(), outer in wild()) {
        let text = logged(Format::Json, "info", || {
            let _span = tracing::info_span!("span", outer).entered();
            tracing::info!(value, debug = ?value, "{message}");
        });
        let line = only_object(&text);
        prop_assert_eq!(line["message"].as_str(), Some(message.as_str()));
        prop_assert_eq!(line["labels.value"].as_str(), Some(value.as_str()));
        prop_assert_eq!(line["labels.outer"].as_str(), Some(outer.as_str()));
        prop_assert!(!text.trim_end_matches('\n').contains(breaks_lines));
    }

    #[test]
    fn every_plain_line_stays_one_line(message in wild(), value in wild()) {
        let text = logged(Format::Plain, "info", || tracing::info!(value, "{message}"));
        let line = text.strip_suffix('\n').unwrap();
prop_assert!(!line.contains(breaks_lines));
    }
}

#[test]
fn a_person_is_one_word_that_does_not_tell_the_id() {
    telemetry::set_salt(b"this installation's own salt");
    let li = telemetry::person("manager7675");
    assert_eq!(li, telemetry::person("manager7675"));
    assert_ne!(li, telemetry::person("manager7676"));
    assert!(li.len() == 16 && li.bytes().all(|byte| byte.is_ascii_hexdigit()));
    // The first salt counts: another one later does not split one person in two.
    telemetry::set_salt(b"another");
    assert_eq!(li, telemetry::person("manager7675"));
    // HMAC-SHA-256 by another implementation: openssl dgst -sha256 -hmac "this installation's own salt".
    assert_eq!(li, "d07c21d80d8ffec0");
}

fn id_of(headers: &[(&'static str, &str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    request_id(&map)
}

#[test]
fn a_well_formed_request_id_is_kept() {
    assert_eq!(id_of(&[("x-request-id", "Root=1-67891233-abcdef")]).len(), 36);
    assert_eq!(id_of(&[("x-request-id", "a.b_c:d-9")]), "a.b_c:d-9");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(id_of(&[("traceparent", trace)]), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(id_of(&[("traceparent", trace), ("x-request-id", "mine")]), "mine");
    assert_eq!(
        id_of(&[("traceparent", trace), ("x-request-id", "no good")]),
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
}

#[test]
fn any_other_request_gets_an_id_of_ours() {
    let long = "x".repeat(129);
    let ill = [
        ("x-request-id", ""),
        ("x-request-id", "a b"),
        ("x-request-id", "a\"b"),
        ("x-request-id", long.as_str()),
        ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),
        ("traceparent", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"),
    ];
    for header in ill {
        assert_eq!(uuid::Uuid::parse_str(&id_of(&[header])).unwrap().get_version_num(), 7, "{header:?}");
    }
    assert_eq!(id_of(&[("x-request-id", "a"), ("x-request-id", "b")]).len(), 36);
}

fn metrics() -> Metrics {
    let metrics = Metrics::new();
    let one = |name: &str| [name.to_owned()].into();
    metrics.set_names(Names { channels: one("team"), models: one("local"), plugins: one("assistant") });
    metrics
}

fn assert_has(figures: &str, line: &str) {
    assert!(figures.lines().any(|known| known == line), "no `{line}` in\n{figures}");
}

#[test]
fn figures_carry_names_units_and_labels() {
    let metrics = metrics();
    metrics.webhook("team", 200, Duration::from_millis(2));
    metrics.message("team", "new");
    metrics.turn("team", "delivered", Duration::from_secs(2));
    metrics.first_token("local", Duration::from_millis(300));
    metrics.model_call("local", "ok");
    metrics.model_tokens("local", 40, 12);
    metrics.plugin_call("assistant", "begin", "trap", Duration::from_micros(700));
    metrics.set_queue(3, 1, Duration::from_millis(1500));
    let open = metrics.connection();
    let figures = metrics.encode();
    for line in [
        "parlor_webhook_acknowledgement_seconds_bucket{le=\"0.0025\",channel=\"team\",status=\"2xx\"} 1",
        "parlor_messages_total{channel=\"team\",outcome=\"new\"} 1",
        "parlor_turn_seconds_count{channel=\"team\",ending=\"delivered\"} 1",
        "parlor_first_token_seconds_sum{model=\"local\"} 0.3",
        "parlor_model_calls_total{model=\"local\",outcome=\"ok\"} 1",
        "parlor_model_tokens_total{model=\"local\",kind=\"prompt\"} 40",
        "parlor_model_tokens_total{model=\"local\",kind=\"completion\"} 12",
        "parlor_plugin_calls_total{plugin=\"assistant\",function=\"begin\",outcome=\"trap\"} 1",
        "parlor_plugin_call_seconds_bucket{le=\"0.001\",plugin=\"assistant\",function=\"begin\"} 1",
        "parlor_queue_unfinished 3",
        "parlor_queue_dead 1",
        "parlor_queue_oldest_age_seconds 1.5",
        "parlor_connections 1",
        "# EOF",
    ] {
        assert_has(&figures, line);
    }
    drop(open);
    assert_has(&metrics.encode(), "parlor_connections 0");
}

#[test]
fn a_name_that_is_not_configured_makes_no_label() {
    let metrics = metrics();
    for number in 0..1000 {
        let name = format!("made-up-{number}");
        metrics.webhook(&name, 404, Duration::ZERO);
        metrics.message(&name, "refused");
        metrics.model_call(&name, "refused");
        metrics.plugin_call(&name, "receive", "ok", Duration::ZERO);
    }
    let figures = metrics.encode();
    assert!(!figures.contains("made-up"));
    assert_has(&figures, "parlor_messages_total{channel=\"other\",outcome=\"refused\"} 1000");
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_tells_what_it_uses() {
    let figures = Metrics::new().encode();
    let value = |name: &str| -> f64 {
        let line = figures.lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{figures}")).split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 500_000.0);
    assert!(value("process_open_fds") >= 3.0 && value("process_threads") >= 1.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - value("process_start_time_seconds")).abs() < 3600.0);
}
