//! `parlor.yaml` from the outside: what loads, and every kind of problem by its text, line and column.

#![allow(clippy::unwrap_used)] // also in what the tests share

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parlor::config::{
    Backend, Config, Meanwhile, Problems, Rate, ReplyVia, Stale, WhenStale, Whereabouts, render, schema,
};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// What every variable of the fake environment holds, with its name before it.
const CANARY: &str = "-canary-0123456789abcdef0123456789";

const AUTH: &str = "auth: { jwt_secret: \"${JWT}\" }\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "UNSET" => None,
        "EMPTY" => Some(String::new()),
        "SHORT" => Some("0123456789".to_owned()),
        "LINE" => Some("0123456789abcdef0123456789abcdef\n".to_owned()),
        "SIX" => Some("6".to_owned()),
        "MODEL" => Some("b".to_owned()),
        _ => Some(format!("{name}{CANARY}")),
    }
}

fn parse(yaml: &str) -> Result<Config, Problems> {
    Config::parse(yaml, Path::new("/etc/parlor"), &environment)
}

/// A file with `auth` behind it, so that lines count from the first of `yaml`.
fn load(yaml: &str) -> Config {
    parse(&format!("{yaml}\n{AUTH}"))
        .unwrap_or_else(|problems| panic!("{}", render(&problems, "parlor.yaml")))
}

fn problems_of(yaml: &str) -> Vec<String> {
    let problems = parse(yaml).expect_err("this file has a problem");
    render(&problems, "f").lines().map(str::to_owned).collect()
}

/// The only problem of a file, with `auth` behind it.
#[track_caller]
fn assert_problem(yaml: &str, expected: &str) {
    let found = parse(&format!("{yaml}\n{AUTH}")).map(|_| ()).map_err(|problems| render(&problems, "f"));
    assert_eq!(found, Err(format!("f:{expected}\n")), "{yaml}");
}

#[test]
fn the_smallest_file_has_every_default() {
    let config = load("");
    assert_eq!(config.listen, "127.0.0.1:18789".parse().unwrap());
    assert_eq!(config.data, PathBuf::from("/etc/parlor/./data"));
    assert_eq!(config.plugins.folder, PathBuf::from("/etc/parlor/./plugins"));
    assert!(!config.plugins.allow_unsigned);
    assert_eq!(config.auth.audience, ["parlor"]);
    assert_eq!(config.auth.issuers, ["parlor"]);
    assert_eq!(config.auth.jwt_secret.expose_secret(), format!("JWT{CANARY}"));
    assert!(config.chat.is_none() && config.models.is_empty() && config.channels.is_empty());
    assert_eq!(config.limits.body_bytes_max, 1 << 20);
    assert_eq!(config.limits.header_timeout, Duration::from_secs(10));
    assert_eq!(config.limits.retention, Duration::from_secs(24 * 3600));
}

#[test]
fn models_and_doors_have_defaults() {
    let config = load(
        "default_model: a\nmodels:\n  a: { backend: gguf, path: a }\n  \
         b: { backend: openai, endpoint: 'http://b', model: c }\nchat: {}\n",
    );
    let Backend::Gguf(gguf) = &config.models["a"].backend else { panic!("a local model") };
    assert_eq!((gguf.context, gguf.max_batch_size, gguf.threads), (2048, 8, None));
    for model in config.models.values() {
        assert_eq!(model.timeout, Duration::from_secs(120));
        assert_eq!((model.concurrent, model.max_tokens, model.temperature), (None, None, None));
    }
    let chat = config.chat.unwrap();
    assert_eq!((chat.history, chat.limits.concurrent, chat.open_page), (5, 10, false));
    assert_eq!(chat.limits.time, Duration::from_secs(120));
}

#[test]
fn a_channel_says_what_becomes_of_late_and_second_messages() {
    let config = load(
        "channels:\n  a: { adapter: x, pipelines: [p] }\n  b: { adapter: x, pipelines: [p], while_answering: merge, stale: {} }\n  \
         c: { adapter: x, pipelines: [p], while_answering: interrupt, stale: { after: 1h, then: drop } }\n",
    );
    let of = |name: &str| (config.channels[name].meanwhile, config.channels[name].stale);
    assert_eq!(of("a"), (Meanwhile::Queue, None));
    let stale = |after, then| Some(Stale { after: Duration::from_secs(after), then });
    assert_eq!(of("b"), (Meanwhile::Merge, stale(600, WhenStale::Notice)));
    assert_eq!(of("c"), (Meanwhile::Interrupt, stale(3600, WhenStale::Drop)));
    assert_problem(
        "channels: { a: { adapter: x, pipelines: [p], while_answering: later } }",
        "1:63: channels.a.while_answering: `later` is not `queue`, `merge` or `interrupt`",
    );
    assert_problem(
        "channels: { a: { adapter: x, pipelines: [p], stale: { after: 1s } } }",
        "1:62: channels.a.stale.after: `1s` is not between `10s` and `7d`",
    );
}

#[test]
fn sources_of_releases_are_files_or_artifacts_by_digest() {
    let digest = format!("sha256:{}", "0f".repeat(32));
    let config = load(&format!(
        "plugins:\n  sources:\n    - {{ url: 'https://a.example/x.wasm', token: '${{T}}', every: 1m }}\n    \
         - {{ url: 'http://127.0.0.1:9/x.wasm' }}\n    \
         - {{ url: 'oci://r.example:5000/ours/x:1.2@{digest}', user: u, password: '${{P}}' }}\n",
    ));
    let [file, local, artifact] = &config.plugins.sources[..] else { panic!("three sources") };
    let Whereabouts::Web { url, token: Some(token) } = &file.at else { panic!("a file") };
    assert_eq!((url.as_str(), file.every), ("https://a.example/x.wasm", Duration::from_secs(60)));
    assert_eq!(token.expose_secret(), format!("T{CANARY}"));
    assert!(matches!(&local.at, Whereabouts::Web { token: None, .. }));
    assert_eq!(local.every, Duration::from_secs(300));
    let Whereabouts::Registry { artifact, login: Some(login) } = &artifact.at else { panic!("an artifact") };
    assert_eq!((&artifact.registry[..], &artifact.repository[..]), ("r.example:5000", "ours/x"));
    assert_eq!((&artifact.digest, &login.user[..]), (&digest, "u"));
    assert_eq!(login.password.expose_secret(), format!("P{CANARY}"));
}

#[test]
fn a_source_that_may_change_on_the_way_or_over_night_is_refused() {
    let of = |source: &str| format!("plugins: {{ sources: [{{ {source} }}] }}");
    let digest = "0f".repeat(32);
    for (source, told) in [
        ("url: 'http://a.example/x.wasm'", "`http://` is for this machine alone"),
        ("url: 'ftp://a.example/x.wasm'", "begins with `https://` or `http://`"),
        ("url: 'https://u:p@a.example/x.wasm'", "no user and password in it"),
        ("url: 'oci://r.example/x:1.2'", "a tag is whatever its owner makes of it tomorrow"),
        ("url: 'oci://r.example/x'", "name the release by its manifest's digest"),
        ("url: 'oci://r.example/x@sha256:0f'", "behind `@` stands `sha256:` and 64 hex digits"),
        (&format!("url: 'oci://r.example/X@sha256:{digest}'"), "a repository in lower case"),
        (&format!("url: 'oci://u:p@r.example/x@sha256:{digest}'"), "no user and password in it"),
        (&format!("url: 'oci://r.example/x@sha256:{digest}', token: t"), "a registry takes a `user`"),
        (&format!("url: 'oci://r.example/x@sha256:{digest}', user: u"), "without `password` beside it"),
        ("url: 'https://a.example/x.wasm', user: u, password: p", "an `https` source takes a `token`"),
        ("url: 'https://a.example/x.wasm', every: 1ms", "is not between `1s` and `7d`"),
    ] {
        let problems = problems_of(&format!("{}\n{AUTH}", of(source)));
        assert!(problems.iter().any(|problem| problem.contains(told)), "{source}: {problems:?}");
    }
    let twice = "plugins: { sources: [{ url: 'https://a.example/x' }, { url: 'https://a.example:443/x' }] }";
    let told = "1:61: plugins.sources[1].url: the list has this file or repository already; each source is one plugin's";
    assert_problem(twice, told);
}

#[test]
fn a_channel_names_another_one_for_its_replies() {
    let two = |via: &str| {
        format!(
            "channels:\n  a: {{ adapter: x, pipelines: [p], reply_via: {via} }}\n  ops: {{ adapter: y, pipelines: [p] }}\n"
        )
    };
    let via = |text: &str| load(&two(text)).channels["a"].reply_via.clone().unwrap();
    let named = |conversation: Option<&str>| ReplyVia {
        channel: "ops".to_owned(),
        conversation: conversation.map(str::to_owned),
    };
    assert_eq!(via("{ channel: ops }"), named(None));
    assert_eq!(via("{ channel: ops, conversation: room }"), named(Some("room")));
    assert_eq!(load(&two("{ channel: ops }")).channels["ops"].reply_via, None);
    assert_problem(
        &two("{ channel: opps }"),
        "2:58: channels.a.reply_via.channel: unknown channel `opps`; did you mean `ops`?",
    );
    assert_problem(
        &two("{ conversation: room }"),
        "2:47: channels.a.reply_via.channel: missing; it has no default",
    );
}

#[test]
fn the_full_sample_is_read_key_by_key() {
    let config = parse(&sample("full.yaml")).unwrap();
    assert_eq!(config.public_url.unwrap().as_str(), "https://bot.example.com/");
    let redis = config.redis.unwrap();
    let url = format!("redis://:REDIS_PASSWORD{CANARY}@10.0.0.5:6379");
    assert_eq!(redis.urls[0].expose_secret(), url);
    assert_eq!((redis.prefix.as_str(), redis.wait_replicas), ("parlor", 0));
    assert_eq!(config.auth.issuers, ["parlor", "https://login.example.com"]);
    let local = &config.models["local"];
    let Backend::Gguf(gguf) = &local.backend else { panic!("{local:?}") };
    assert_eq!((gguf.context, gguf.max_batch_size, gguf.threads), (2048, 8, Some(2)));
    assert_eq!(gguf.path, PathBuf::from("/etc/parlor/./models/model.gguf"));
    assert_eq!((local.concurrent, local.max_tokens, local.temperature), (Some(8), Some(512), Some(0.7)));
    let Backend::OpenAi(openai) = &config.models["remote"].backend else { panic!("a remote model") };
    assert_eq!(openai.api_key.as_ref().unwrap().expose_secret(), format!("MODEL_API_KEY{CANARY}"));
    assert!(matches!(config.models["test"].backend, Backend::Echo));
    let team = &config.channels["team"];
    assert_eq!((team.adapter.as_str(), team.history), ("dingtalk", 5));
    assert_eq!(team.settings["assistant.persona"], json!("You help the team. Prices are in $."));
    assert_eq!(team.secrets["app_secret"].expose_secret(), format!("DINGTALK_APP_SECRET{CANARY}"));
    assert_eq!((team.limits.concurrent, team.limits.time), (10, Duration::from_secs(120)));
    let rate = |interval, burst| Some(Rate { interval, burst });
    assert_eq!(team.limits.rate, rate(Duration::from_millis(100), 20));
    assert_eq!(team.limits.person, rate(Duration::from_secs(3), 5));
    let nets = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(nets(&team.allow), ["203.0.113.0/24", "2001:db8::/32"]);
    assert_eq!(nets(&config.trusted_proxies), ["127.0.0.1/32", "10.0.0.0/8"]);
    assert_eq!((config.limits.key, config.allow.len()), (rate(Duration::from_secs(1), 60), 0));
    let chat = config.chat.as_ref().unwrap();
    assert_eq!((chat.queue, chat.limits.person), (64, rate(Duration::from_secs(3), 5)));
    assert!(config.chat.unwrap().open_page);
    assert_eq!(config.endpoints["https://api.example.com"].as_str(), "http://127.0.0.1:9001/");
    assert_eq!((config.limits.turns_max, config.limits.connections_max), (64, 1024));
}

#[test]
fn a_redis_is_one_url_or_the_nodes_of_a_cluster() {
    assert!(load("").redis.is_none(), "all is in `data`");
    let urls = |yaml: &str| -> Vec<String> {
        let redis = load(yaml).redis.unwrap();
        redis.urls.iter().map(|url| url.expose_secret().to_owned()).collect()
    };
    assert_eq!(urls("store: { redis: redis://10.0.0.5 }"), ["redis://10.0.0.5"]);
    let sealed = "store: { redis: 'rediss://app:${REDIS}@cache.example.com:6380/2' }";
    assert_eq!(urls(sealed), [format!("rediss://app:REDIS{CANARY}@cache.example.com:6380/2")]);
    assert!(!format!("{:?}", load(sealed)).contains(CANARY));
    let nodes = "store:\n  redis: [redis://a:7000, 'redis://b:7000/', redis://c:7000/0]\n  wait_replicas: 1";
    assert_eq!(urls(nodes).len(), 3);
    let redis = load(nodes).redis.unwrap();
    assert_eq!((redis.prefix.as_str(), redis.wait_replicas), ("parlor", 1));
    assert_eq!(urls("store: { redis: 'redis+unix:///run/redis.sock' }"), ["redis+unix:///run/redis.sock"]);
}

#[test]
fn a_redis_that_cannot_be_used_is_refused() {
    let encode = "a password with `/`, `@`, `#`, `?` or `%` in it has to be percent-encoded";
    assert_problem("store: {}", "1:8: store.redis: missing; it has no default");
    assert_problem(
        "store: { redis: 'http://a' }",
        "1:17: store.redis: expected a URL that begins with `redis://`, or with `rediss://` for TLS",
    );
    assert_problem("store: { redis: [] }", "1:17: store.redis: the list is empty");
    assert_problem(
        "store: { redis: 'redis://:a#b@c' }",
        &format!("1:17: store.redis: expected a URL such as `redis://10.0.0.5:6379`: empty host; {encode}"),
    );
    assert_problem(
        "store: { redis: 'redis://a/#b' }",
        &format!("1:17: store.redis: a URL here ends before `?` and `#`; {encode}"),
    );
    assert_problem(
        "store: { redis: 'redis://a/b' }",
        &format!("1:17: store.redis: behind the host stands a database's number or nothing; {encode}"),
    );
    assert_problem(
        "store: { redis: ['redis://a/1', 'redis://b'] }",
        "1:17: store.redis: the nodes of a Cluster have no databases; take `/…` away",
    );
    assert_problem(
        "store: { redis: redis://a, wait_replicas: 9 }",
        "1:43: store.wait_replicas: `9` is not a whole number from 0 to 5",
    );
    assert_problem(
        "store: { redis: redis://a, prefix: A_B }",
        "1:36: store.prefix: `A_B` is not a name: 1 to 63 of `a-z`, `0-9` and `-`, a letter or digit first",
    );
}

#[test]
fn a_bus_may_be_called_as_is_usual_in_redis() {
    assert_eq!(load("").bus, None, "nothing of what people say is handed out");
    for name in ["parlor", "chat:messages", "Chat_messages/1"] {
        assert_eq!(load(&format!("bus: {{ name: '{name}' }}")).bus.as_deref(), Some(name));
    }
    assert_problem(
        "bus: { name: 'a b' }",
        "1:14: bus.name: `a b` is not a bus's name: 1 to 63 letters, digits, `.`, `_`, `:`, `/` and `-`, a letter or \
         digit first",
    );
}

#[test]
fn every_problem_comes_at_once_in_the_order_of_the_file() {
    let yaml = "\
listen: here
publc_url: https://bot.example.com
default_model: remot
models:
  remote: { backend: openai, endpoint: 'ftp://x', context: 9, timeout: 120 }
  other: { backend: anthropic }
channels:
  Team:
    adapter: chatty
    histroy: 5
    history: many
    model: local
    secrets: { app_secret: '${UNSET}' }
limits: { body: 1MB, body: 2MiB }
";
    let expected = "\
f:1:1: auth: missing; it has no default
f:1:9: listen: `here` is not an address with a port such as `127.0.0.1:18789`
f:2:1: publc_url: unknown key `publc_url`; did you mean `public_url`?
f:3:16: default_model: unknown model `remot`; did you mean `remote`?
f:5:11: models.remote.model: missing; it has no default
f:5:40: models.remote.endpoint: expected a URL that begins with `https://` or `http://`
f:5:51: models.remote.context: `context` is a key of backend `gguf`; this is backend `openai`
f:5:72: models.remote.timeout: expected a duration such as `120s`, `5m`, `1h` or `500ms`, there is a number; add a unit
f:6:21: models.other.backend: unknown backend `anthropic`; known: `gguf`, `openai`, `echo`
f:8:3: channels.Team: `Team` is not a name: 1 to 63 of `a-z`, `0-9` and `-`, a letter or digit first
f:10:5: channels.Team.histroy: unknown key `histroy`; did you mean `history`?
f:11:14: channels.Team.history: expected a whole number from 0 to 100, there is text
f:12:12: channels.Team.model: unknown model `local`; known: `remote`, `other`
f:13:28: channels.Team.secrets.app_secret: there is no variable `UNSET` in the environment, nor in `secrets.env`; set it and start again
f:14:17: limits.body: `1MB` is not a size such as `512KiB` or `1MiB`
f:14:22: limits.body: duplicate key `body`; it stands in line 14 already";
    assert_eq!(problems_of(yaml).join("\n"), expected);
}

#[test]
fn an_unknown_key_names_its_neighbour() {
    assert_problem(
        "limits:\n  conections: 5",
        "2:3: limits.conections: unknown key `conections`; did you mean `connections`?",
    );
    assert_problem("lisetn: x", "1:1: lisetn: unknown key `lisetn`; did you mean `listen`?");
    assert_problem(
        "plugins: { keys: [] }",
        "1:12: plugins.keys: unknown key `keys`; known: `folder`, `trusted_keys`, `allow_unsigned`, `sources`",
    );
    assert_problem(
        "default_model: e\nmodels: { e: { backend: echo } }\nchannels: { a: { adapter: b, limits: { queue: 5 } } }",
        "3:40: channels.a.limits.queue: unknown key `queue`; known: `rate`, `burst`, `person_rate`, `person_burst`, \
         `concurrent`, `time`",
    );
}

#[test]
fn a_wrong_type_says_what_is_expected_and_what_is_there() {
    assert_problem("data: [a]", "1:7: data: expected a path, there is a list");
    assert_problem("data: 5", "1:7: data: expected a path, there is a number; put it in quotes");
    assert_problem("data: # none\n\n\nlimits: {}", "1:5: data: expected a path, there is nothing");
    assert_problem("channels: 5", "1:11: channels: expected a table, there is a number");
    assert_problem(
        "limits:",
        "1:7: limits: expected a table, there is nothing; remove the key, or write `{}` for the defaults",
    );
    assert_problem(
        "limits: { turns: '6' }",
        "1:18: limits.turns: expected a whole number from 1 to 4096, there is text; remove the quotes",
    );
    assert_problem(
        "limits: { turns: 1.5 }",
        "1:18: limits.turns: expected a whole number from 1 to 4096, there is a number",
    );
    assert_problem("limits: { turns: 0 }", "1:18: limits.turns: `0` is not a whole number from 1 to 4096");
    assert_problem(
        "plugins: { allow_unsigned: yes }",
        "1:28: plugins.allow_unsigned: expected `true` or `false`, there is text",
    );
    assert_problem(
        "chat: { pipelines: assistant }\ndefault_model: e\nmodels: { e: { backend: echo } }",
        "1:20: chat.pipelines: expected a list, there is text",
    );
    assert_problem("models: { a: 1 }", "1:14: models.a: expected a table, there is a number");
    assert_problem(
        "models: { a: { } }",
        "1:14: models.a.backend: missing; it is one of `gguf`, `openai`, `echo`",
    );
}

#[test]
fn durations_and_sizes_have_a_unit_and_bounds() {
    let duration = "is not a duration such as `120s`, `5m`, `1h` or `500ms`";
    for wrong in ["10 s", "1h30m", "-5s", "s", "1.5h", "10S", "99999999999999999999s"] {
        assert_problem(
            &format!("limits: {{ header_timeout: '{wrong}' }}"),
            &format!("1:27: limits.header_timeout: `{wrong}` {duration}"),
        );
    }
    assert_problem(
        "limits: { header_timeout: 1h }",
        "1:27: limits.header_timeout: `1h` is not between `100ms` and `10m`",
    );
    assert_problem("limits: { body: 1GiB }", "1:17: limits.body: `1GiB` is not between `1KiB` and `64MiB`");
    assert_problem(
        "limits: { retention: 1h }",
        "1:22: limits.retention: `1h` is not between `1d` and `365d`",
    );
    assert_problem(
        "limits: { grace_period: 2h }",
        "1:25: limits.grace_period: `2h` is not between `0ms` and `1h`",
    );
    let limits = load(
        "limits: { header_timeout: 500ms, body_timeout: 5m, grace_period: 0s, retention: 7d, body: 64KiB }",
    )
    .limits;
    assert_eq!(limits.header_timeout, Duration::from_millis(500));
    assert_eq!(limits.body_timeout, Duration::from_secs(300));
    assert_eq!(limits.grace_period, Duration::ZERO);
    assert_eq!(limits.retention, Duration::from_secs(7 * 86_400));
    assert_eq!(limits.body_bytes_max, 65_536);
}

#[test]
fn addresses_urls_origins_paths_and_digests_are_checked() {
    assert_problem(
        "listen: 127.0.0.1:70000",
        "1:9: listen: `127.0.0.1:70000` has port 70000; ports end at 65535",
    );
    assert_problem("listen: localhost:80", "1:9: listen: `localhost:80` is a name; write `127.0.0.1:80`");
    assert_problem(
        "public_url: bot.example.com",
        "1:13: public_url: expected a URL such as `https://bot.example.com`: relative URL without a base",
    );
    assert_problem("public_url: https://a/?b", "1:13: public_url: a URL here ends before `?` and `#`");
    assert_problem(
        "public_url: https://a:b@c",
        "1:13: public_url: a URL here has no user and password in it; take them out",
    );
    assert_problem("data: ~/x", "1:7: data: `~/x` begins with `~`, which is the shell's; write `${HOME}`");
    assert_problem("data: ''", "1:7: data: `` is empty");
    assert_problem(
        "endpoints: { 'https://a/b': 'http://c' }",
        "1:14: endpoints.\"https://a/b\": `https://a/b` is not an origin: an origin is scheme, host and port alone; take the path away",
    );
    assert_problem(
        "endpoints: { 'https://a': 'http://c', 'https://a:443/': 'http://c' }",
        "1:39: endpoints.\"https://a:443/\": the same origin as `https://a`",
    );
    assert_problem(
        "models: { m: { backend: gguf, path: a, sha256: abc } }",
        "1:48: models.m.sha256: `abc` is not a SHA-256 of 64 hex digits",
    );
    assert_problem(
        "models: { m: { backend: gguf, path: a, temperature: 3 } }",
        "1:53: models.m.temperature: `3` is not a number from 0 to 2",
    );
    assert_problem(
        "models: { m: { backend: gguf, path: a, temperature: warm } }",
        "1:53: models.m.temperature: expected a number from 0 to 2, there is text",
    );
}

#[test]
fn variables_fill_scalars_and_their_problems_name_them() {
    assert_problem(
        "data: '${UNSET}'",
        "1:7: data: there is no variable `UNSET` in the environment, nor in `secrets.env`; set it and start again",
    );
    assert_problem("data: '${A'", "1:7: data: `${` has no `}`; for a dollar sign write `$$`");
    assert_problem(
        "data: '${secret:a}'",
        "1:7: data: `${secret:a}` names no variable; for that text itself write `$${secret:a}`",
    );
    assert_problem(
        "limits: { turns: '${A}' }",
        "1:18: limits.turns: expected a whole number from 1 to 4096; `A` holds something else",
    );
    assert_problem(
        "listen: ${A}",
        "1:9: listen: what `A` holds is not an address with a port such as `127.0.0.1:18789`",
    );
    let config = load("data: /x/${SIX}$$${SIX}$\nlimits: { turns: '${SIX}' }");
    assert_eq!(config.data, PathBuf::from("/x/6$6$"));
    assert_eq!(config.limits.turns_max, 6);
}

#[test]
fn settings_keep_their_types() {
    let config = load(
        "default_model: e\nmodels: { e: { backend: echo } }\nchannels:\n  a:\n    adapter: b\n    settings:\n      \
         n: 5\n      q: '5'\n      v: ${SIX}\n      z: 007\n      f: true\n      e: '${EMPTY}'\n      \
         o:\n      l: [1, {a: 0.5}]\n",
    );
    let settings = serde_json::to_value(&config.channels["a"].settings).unwrap();
    let expected =
        json!({"n": 5, "q": "5", "v": 6, "z": "007", "f": true, "e": "", "o": null, "l": [1, {"a": 0.5}]});
    assert_eq!(settings, expected);
}

#[test]
fn secrets_are_there_long_enough_and_without_a_line_break() {
    let secret = |yaml: &str| problems_of(&format!("auth: {{ jwt_secret: {yaml} }}")).join("\n");
    assert_eq!(secret("'${EMPTY}'"), "f:1:21: auth.jwt_secret: the secret is empty; set `EMPTY`");
    assert_eq!(secret("''"), "f:1:21: auth.jwt_secret: the secret is empty");
    assert_eq!(
        secret("'${SHORT}'"),
        "f:1:21: auth.jwt_secret: the secret has 10 bytes and needs 32 or more; set `SHORT`"
    );
    assert_eq!(
        secret("'${LINE}'"),
        "f:1:21: auth.jwt_secret: the secret begins or ends with white space, such as a line break of a file"
    );
    assert_eq!(
        secret("12345"),
        "f:1:21: auth.jwt_secret: expected text, there is a number; put it in quotes"
    );
    assert_problem(
        "default_model: e\nmodels: { e: { backend: echo } }\nchannels: { a: { adapter: b, secrets: { c: '${EMPTY}' } } }",
        "3:44: channels.a.secrets.c: the secret is empty; set `EMPTY`",
    );
}

const MODELS: &str = "models: { b: { backend: echo } }\n";

#[test]
fn names_must_exist_and_fit_together() {
    let problem = |yaml: &str, expected: &str| assert_problem(&format!("{MODELS}{yaml}"), expected);
    problem("default_model: c", "2:16: default_model: unknown model `c`; known: `b`");
    problem("chat: { model: c }", "2:16: chat.model: unknown model `c`; known: `b`");
    problem("chat: { model: '${A}' }", "2:16: chat.model: `A` holds no name out of `models`");
    assert_problem("default_model: c", "1:16: default_model: unknown model `c`; there is no model");
    problem(
        "channels: { d: { adapter: e } }",
        "2:16: channels.d.model: missing: without `pipelines` all text goes to a model, and there is no `default_model`",
    );
    problem("channels: { d: { model: b } }", "2:16: channels.d.adapter: missing; it has no default");
    problem(
        "channels: { chat: { adapter: e, model: b } }",
        "2:13: channels.chat: `chat` is taken: the host's own door keeps its conversations under this name; choose another",
    );
    problem(
        "channels: { d: { adapter: a_b, model: b } }",
        "2:27: channels.d.adapter: `a_b` is not a name: 1 to 63 of `a-z`, `0-9` and `-`, a letter or digit first",
    );
    problem(
        "channels: { d: { adapter: e, pipelines: [p, q, p] } }",
        "2:48: channels.d.pipelines[2]: `p` is in the list already; its settings could not be told apart",
    );
    problem(
        "channels: { d: { adapter: e, pipelines: [assistant], settings: { asistant.x: 1 } } }",
        "2:66: channels.d.settings.\"asistant.x\": unknown pipeline `asistant`; did you mean `assistant`?",
    );
    problem(
        "chat: { model: b, settings: { persona: x } }",
        "2:31: chat.settings.persona: there is no adapter here whose setting this could be; write `pipeline.setting`",
    );
    problem(
        "channels: { d: { adapter: e, model: b, settings: { 'a b': 1 } } }",
        "2:52: channels.d.settings.\"a b\": `a b` is neither `setting` nor `pipeline.setting`",
    );
    problem(
        "listen: 0.0.0.0:1\nchat: { model: b, open_page: true }",
        "3:30: chat.open_page: a page without a token is only for this machine; `listen` on `127.0.0.1`, or set it `false`",
    );
    assert_eq!(load(&format!("{MODELS}chat: {{ model: '${{MODEL}}' }}")).chat.unwrap().model.unwrap(), "b");
}

#[test]
fn a_channel_with_pipelines_may_do_without_a_model() {
    assert!(load("channels: { d: { adapter: e, pipelines: [commands] } }").channels["d"].model.is_none());
}

#[test]
fn lists_are_bounded() {
    assert_problem(
        "auth: { audience: [], jwt_secret: '${JWT}' }\n#",
        "1:19: auth.audience: the list is empty\nf:3:1: auth: duplicate key `auth`; it stands in line 1 already",
    );
    let names: Vec<_> = (0..17).map(|n| format!("p{n}")).collect();
    assert_problem(
        &format!("chat: {{ pipelines: [{}] }}", names.join(", ")),
        "1:20: chat.pipelines: the list has 17 items; at most 16",
    );
}

#[test]
fn what_is_not_yaml_or_not_one_document_has_a_place() {
    assert_eq!(problems_of("a: [1"), ["f:1:4: this is not YAML: unclosed bracket '['"]);
    assert_eq!(problems_of("a: *b"), ["f:1:4: this is not YAML: while parsing node, found unknown anchor"]);
    assert_eq!(
        problems_of("a: 1\n---\nb: 2"),
        ["f:2:1: a second document begins here; a configuration has one"]
    );
    assert_eq!(problems_of("data: !x y"), ["f:1:10: data: YAML tags have no meaning here; remove the `!…`"]);
    assert_eq!(problems_of("[a]: b"), ["f:1:1: a key must be text"]);
    assert_eq!(problems_of("a: &a [*a]"), ["f:1:8: a[0]: this alias stands within its own anchor"]);
    assert!(
        problems_of("a: &a {}\nb: { <<: *a }")[0]
            .starts_with("f:2:6: b: merge keys (`<<`) are not part of YAML")
    );
    assert_eq!(problems_of("- a"), ["f:1:1: expected a table, there is a list"]);
    assert_eq!(problems_of(""), ["f:1:1: auth: missing; it has no default"]);
}

#[test]
fn columns_count_characters() {
    assert_problem(
        "limits: { 体: 1, turns: 0 }",
        "1:11: limits.\"体\": unknown key `体`; known: `body`, `header_timeout`, `body_timeout`, `connections`, `key_rate`, \
         `key_burst`, `grace_period`, `turns`, `retention`\nf:1:24: limits.turns: `0` is not a whole number from 1 to 4096",
    );
}

#[test]
fn an_alias_stands_for_a_whole_value() {
    let config = load(
        "default_model: e\nmodels: { e: { backend: echo } }\nchannels:\n  a: { adapter: x, limits: &l { time: 5s } }\n  \
         b: { adapter: x, limits: *l }\n",
    );
    assert_eq!(config.channels["b"].limits, config.channels["a"].limits);
    assert_eq!(config.channels["b"].limits.time, Duration::from_secs(5));
}

#[test]
fn size_depth_and_aliases_are_bounded() {
    let large = format!("# {}", "x".repeat(1 << 20));
    assert_eq!(problems_of(&large), ["f:1:1: the file has 1048578 bytes; at most 1048576"]);
    let deep = "nested deeper than 32 levels";
    for open in ["[", "{a: ", "- ", "? ", "[[{a: "] {
        let yaml = format!("a:\n  {}", open.repeat(100_000));
        let problems = problems_of(&yaml);
        assert!(problems.len() == 1 && problems[0].ends_with(deep), "{open}: {problems:?}");
    }
    let chain: String = (1..100).map(|n| format!("k{n}: &a{n} [*a{}]\n", n - 1)).collect();
    let problems = problems_of(&format!("k0: &a0 [x]\n{chain}"));
    assert!(problems[0].ends_with(deep), "{problems:?}");
    let bomb: String =
        (1..20).map(|n| format!("k{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))).collect();
    let problems = problems_of(&format!("k0: &a0 [x]\n{bomb}"));
    assert!(problems[0].ends_with("the aliases of this file repeat more than 1 MiB"), "{problems:?}");
}

#[test]
fn a_long_value_is_not_repeated() {
    let problems = problems_of(&format!("listen: {}", "é".repeat(10_000)));
    let shown = "é".repeat(80);
    assert!(problems[1].starts_with(&format!("f:1:9: listen: `{shown}…` is not an address")), "{problems:?}");
}

#[test]
fn bytes_that_are_not_utf_8_have_a_place() {
    assert_eq!(Config::decode("data: 体".as_bytes()).unwrap(), "data: 体");
    let problems = Config::decode(b"a: 1\n\xe4\xbd\x93\xff").unwrap_err();
    assert_eq!(render(&problems, "f"), "f:2:2: this is not UTF-8; save the file as UTF-8\n");
}

/// Every scalar of the full sample, one after another, and all of them together, out of the environment.
#[test]
fn nothing_out_of_the_environment_is_shown() {
    let yaml = sample("full.yaml");
    let sound =
        parse(&yaml.replace("${DINGTALK_ROBOT_CODE}", "code").replace("${DINGTALK_APP_KEY}", "key")).unwrap();
    assert!(!format!("{sound:?}").contains(CANARY), "{sound:?}");
    let lines: Vec<&str> = yaml.lines().collect();
    let mut refused = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(": ").filter(|(key, _)| !key.contains('#')) else { continue };
        let mut lines = lines.clone();
        let replaced = format!("{key}: \"${{SOMETHING}}\"");
        lines[at] = &replaced;
        if let Err(problems) = parse(&lines.join("\n")) {
            refused += 1;
            assert!(!render(&problems, "f").contains(CANARY), "{}", render(&problems, "f"));
        }
    }
    assert!(refused > 30, "{refused} lines were refused");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sample(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy/samples").join(name)).unwrap()
}

#[test]
fn every_sample_loads() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("deploy/samples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        parse(&sample(&name)).unwrap_or_else(|problems| panic!("{}", render(&problems, &name)));
        names.push(name);
    }
    assert!(names.len() >= 3, "{names:?}");
}

#[test]
fn every_yaml_block_of_the_readmes_loads() {
    for name in ["README.md", "README.zh-CN.md"] {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        for block in yaml_blocks(&text) {
            let whole = completed(&block);
            parse(&whole).unwrap_or_else(|problems| panic!("{name}: {}\n{whole}", render(&problems, name)));
        }
    }
}

/// The fenced blocks that are a configuration or the channels of one.
fn yaml_blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let is_ours = |block: &&str| block.starts_with("listen:") || block.starts_with("channels:");
    blocks.filter(is_ours).map(str::to_owned).collect()
}

/// A piece of a file, with what the reader is told to have elsewhere.
fn completed(block: &str) -> String {
    let mut whole = block.to_owned();
    let elsewhere = [
        ("auth:", AUTH),
        ("models:", "models: { local: { backend: echo }, remote: { backend: echo } }\n"),
        ("default_model:", "default_model: local\n"),
    ];
    for (key, lines) in elsewhere {
        if !whole.lines().any(|line| line.starts_with(key)) {
            whole.push_str(lines);
        }
    }
    whole
}

#[test]
fn blocks_of_a_readme_are_found_and_completed() {
    let text =
        "a\n```yaml\nchannels: {}\n```\nb\n```yaml\nother: 1\n```\n```yaml\nlisten: 127.0.0.1:1\n```\n";
    let blocks = yaml_blocks(text);
    assert_eq!(blocks, ["channels: {}\n", "listen: 127.0.0.1:1\n"]);
    assert!(blocks.iter().all(|block| parse(&completed(block)).is_ok()));
}

/// Marks each key of `schema` that `value` has; a key that the schema lacks is a failure.
fn walk(schema: &Value, value: &Value, path: &str, used: &mut BTreeSet<String>) {
    if let Some(variants) = schema["oneOf"].as_array() {
        let fits = |variant: &&Value| variant["properties"]["backend"]["const"] == value["backend"];
        let variant = variants.iter().find(fits).expect("a variant of this backend");
        return walk(variant, value, &format!("{path}<{}>", value["backend"].as_str().unwrap()), used);
    }
    for item in value.as_array().into_iter().flatten() {
        walk(&schema["items"], item, &format!("{path}[]"), used);
    }
    let Some(entries) = value.as_object() else { return };
    for (key, below) in entries {
        match schema["properties"].get(key) {
            Some(schema) => {
                used.insert(format!("{path}.{key}"));
                walk(schema, below, &format!("{path}.{key}"), used);
            }
            None if schema["additionalProperties"].is_object() => {
                walk(&schema["additionalProperties"], below, &format!("{path}.*"), used);
            }
            None => panic!("{path}.{key} is not in the schema"),
        }
    }
}

/// Every key of a schema, as `walk` writes them.
fn keys_of(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        let backend = variant["properties"]["backend"]["const"].as_str().unwrap();
        keys_of(variant, &format!("{path}<{backend}>"), keys);
    }
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        keys.insert(format!("{path}.{key}"));
        keys_of(below, &format!("{path}.{key}"), keys);
    }
    if schema["items"].is_object() {
        keys_of(&schema["items"], &format!("{path}[]"), keys);
    }
    if schema["additionalProperties"].is_object() {
        keys_of(&schema["additionalProperties"], &format!("{path}.*"), keys);
    }
}

/// The parser takes the full sample, and the full sample has just the keys of the schema.
#[test]
fn the_schema_has_the_keys_of_the_parser() {
    let yaml = sample("full.yaml");
    parse(&yaml).unwrap();
    let value: Value = serde_saphyr::from_str(&yaml).unwrap();
    let (mut used, mut keys) = (BTreeSet::new(), BTreeSet::new());
    walk(&schema(), &value, "", &mut used);
    keys_of(&schema(), "", &mut keys);
    assert_eq!(used, keys);
    assert!(keys.len() > 60, "{}", keys.len());
}

/// And the other way round: what the parser says it knows is what the schema has.
#[test]
fn the_parser_has_the_keys_of_the_schema() {
    let schema = schema();
    let models = &schema["properties"]["models"]["additionalProperties"]["oneOf"];
    let table = |path: &[&str]| path.iter().fold(&schema, |schema, key| &schema["properties"][key]);
    let channel = &table(&["channels"])["additionalProperties"];
    let cases = [
        ("zzzzzzzzzzzz: 1".to_owned(), table(&[])),
        ("auth: { zzzzzzzzzzzz: 1 }".to_owned(), table(&["auth"])),
        ("store: { zzzzzzzzzzzz: 1 }".to_owned(), table(&["store"])),
        ("plugins: { zzzzzzzzzzzz: 1 }".to_owned(), table(&["plugins"])),
        ("plugins: { sources: [{ zzzzzzzzzzzz: 1 }] }".to_owned(), &table(&["plugins", "sources"])["items"]),
        ("limits: { zzzzzzzzzzzz: 1 }".to_owned(), table(&["limits"])),
        ("chat: { zzzzzzzzzzzz: 1 }".to_owned(), table(&["chat"])),
        ("chat: { limits: { zzzzzzzzzzzz: 1 } }".to_owned(), table(&["chat", "limits"])),
        ("channels: { a: { zzzzzzzzzzzz: 1 } }".to_owned(), channel),
        ("channels: { a: { limits: { zzzzzzzzzzzz: 1 } } }".to_owned(), &channel["properties"]["limits"]),
        ("models: { a: { backend: gguf, zzzzzzzzzzzz: 1 } }".to_owned(), &models[0]),
        ("models: { a: { backend: openai, zzzzzzzzzzzz: 1 } }".to_owned(), &models[1]),
        ("models: { a: { backend: echo, zzzzzzzzzzzz: 1 } }".to_owned(), &models[2]),
    ];
    for (yaml, schema) in cases {
        let problems = problems_of(&yaml).into_iter().find(|line| line.contains("unknown key")).unwrap();
        let known: BTreeSet<_> = problems.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        let listed = schema["properties"].as_object().unwrap().keys().filter(|key| *key != "backend");
        assert_eq!(known, listed.cloned().collect(), "{yaml}");
    }
}

/// Pieces that YAML and the host give a meaning.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "listen",
        "auth",
        "jwt_secret",
        "models",
        "backend",
        "gguf",
        "echo",
        "channels",
        "chat",
        "settings",
        "limits",
        "endpoints",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "? ",
        "| ",
        "> ",
        "\"",
        "'",
        "#",
        " #",
        "!",
        "!!str ",
        "<<",
        "---\n",
        "...",
        "%",
        "${",
        "}",
        "$$",
        "${X}",
        "\t",
        "\u{feff}",
        "~",
        "1MiB",
        "5s",
        "0x",
        "1e999",
        "体",
        "\r\n",
        "\u{0}",
        "@",
        "`",
        "\\u12",
    ];
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn assert_sound(yaml: &str) {
    let Err(problems) = parse(yaml) else { return };
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert!(!places.is_empty() && places.is_sorted(), "{places:?}");
    assert!(places.iter().all(|(line, column)| *line > 0 && *column > 0));
    assert_eq!(render(&problems, "f").lines().count(), places.len(), "one line each");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn garbage_never_panics(pieces in proptest::collection::vec(piece(), 0..60)) {
        assert_sound(&pieces.concat());
    }

    #[test]
    fn a_broken_sample_never_panics(from in 0usize..5000, length in 0usize..40, pieces in proptest::collection::vec(piece(), 0..4)) {
        let yaml: Vec<char> = sample("full.yaml").chars().collect();
        let from = from.min(yaml.len());
        let to = (from + length).min(yaml.len());
        let broken: String = yaml[..from].iter().chain(&pieces.concat().chars().collect::<Vec<_>>()).chain(&yaml[to..]).collect();
        assert_sound(&broken);
    }
}

#[test]
fn a_rate_is_so_many_in_a_span_and_its_burst_is_one_span_unless_it_is_named() {
    for (rate, interval, burst) in [
        ("10/s", Duration::from_millis(100), 10),
        ("20/1m", Duration::from_secs(3), 20),
        ("3/s", Duration::from_micros(333_334), 3),
        ("1/2h", Duration::from_secs(7200), 1),
        ("500/d", Duration::from_micros(172_800_000), 500),
    ] {
        let key = load(&format!("limits: {{ key_rate: {rate} }}")).limits.key;
        assert_eq!(key, Some(Rate { interval, burst }), "{rate}");
    }
    let burst = load("limits: { key_rate: 1/s, key_burst: 7 }").limits.key.unwrap().burst;
    assert_eq!(burst, 7);
}

#[test]
fn a_rate_that_is_none_is_refused() {
    for wrong in ["ten/s", "10/", "/s", "10/sec", "10 / s", "1.5/s", "-1/s", "10/s/s", "99999999999/s"] {
        assert_problem(
            &format!("limits: {{ key_rate: {wrong} }}"),
            &format!("1:21: limits.key_rate: `{wrong}` is not a rate such as `10/s`, `20/1m` or `500/h`"),
        );
    }
    for wrong in ["0/s", "10001/s", "1/0s", "1/2d"] {
        assert_problem(
            &format!("limits: {{ key_rate: {wrong} }}"),
            &format!("1:21: limits.key_rate: `{wrong}` is not between 1 and 10000 in a span of `1d` at most"),
        );
    }
    assert_problem(
        "limits: { key_rate: 10 }",
        "1:21: limits.key_rate: expected a rate such as `10/s`, `20/1m` or `500/h`, there is a number; say in which time",
    );
    assert_problem(
        "limits: { key_burst: 10 }",
        "1:22: limits.key_burst: without `key_rate` beside it this limits nothing",
    );
    assert_problem(
        "default_model: e\nmodels: { e: { backend: echo } }\nchat: { limits: { person_burst: 5, rate: 1/s } }",
        "3:33: chat.limits.person_burst: without `person_rate` beside it this limits nothing",
    );
}

/// Each part by itself, as people copy them out of the wrong place.
#[test]
fn trusted_keys_are_checked() {
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let config = load(&format!("plugins: {{ trusted_keys: [{key}] }}"));
    assert_eq!(config.plugins.trusted_keys[0].to_base64(), key);
    let wanted =
        "a minisign public key: 56 characters that begin with `RW`, the second line of a `.pub` file";
    for wrong in [&key[..55], "RWQ", "E76 1F21 8421 4B8E", &key.replace("RWQ", "AAA"), &format!("{key}=")] {
        assert_problem(
            &format!("plugins:\n  trusted_keys: [{key}, '{wrong}']"),
            &format!("2:76: plugins.trusted_keys[1]: `{wrong}` is not {wanted}"),
        );
    }
    assert_problem(
        &format!("plugins: {{ trusted_keys: {key} }}"),
        "1:26: plugins.trusted_keys: expected a list, there is text",
    );
}

#[test]
fn networks_are_checked() {
    let config = load("allow: [192.0.2.7, 10.0.0.0/8, '2001:db8::/32', '::1']");
    let nets: Vec<_> = config.allow.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["192.0.2.7/32", "10.0.0.0/8", "2001:db8::/32", "::1/128"]);
    assert_problem(
        "allow: [10.0.0.0/33]",
        "1:9: allow[0]: `10.0.0.0/33` is not an address or a network such as `192.0.2.7`, `10.0.0.0/8` or \
         `2001:db8::/32`",
    );
    assert_problem(
        "trusted_proxies: [10.0.0.1, 10.1.2.3/8]",
        "1:29: trusted_proxies[1]: `10.1.2.3/8` is one address with the size of a network; write `10.0.0.0/8`",
    );
    assert_problem("allow: 10.0.0.1", "1:8: allow: expected a list, there is text");
    let many = vec!["10.0.0.1"; 1025].join(", ");
    assert_problem(&format!("allow: [{many}]"), "1:8: allow: the list has 1025 items; at most 1024");
}
