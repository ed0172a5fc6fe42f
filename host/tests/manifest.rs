//! The manifest: a whole one is read as written, and all that is wrong with one comes at once, by line.

#[path = "manifest/growth.rs"]
mod growth;

use std::collections::BTreeMap;
use std::time::Duration;

use parlor::plugin::manifest::{
    EgressHost, Kind, Limits, Manifest, Place, Placeholder, Problem, Rate, Reception, SecretUse, Spot,
};
use serde_json::{Value, json};

const WHOLE: &str = r#"
name = "chatty"
version = "0.1.0"
kind = "adapter"
contract = "0.1"
license = "Apache-2.0"
description = "Talks to Example"
update-interval = "1s"
opening-calls = 2

[settings]
required = ["robot_code"]
[settings.properties]
robot_code = { type = "string", description = "shown on the robot's page", minLength = 1 }
callback_url = { type = "string", format = "uri" }
style = { type = "string", enum = ["short", "long"], default = "short" }
retries = { type = "integer", minimum = 0, maximum = 5, default = 3 }
names = { type = "array", items = { type = "string" } }

[[secrets]]
name = "app_secret"
why = "signs what the platform sends"
uses = ["hmac", "egress"]

[[secrets]]
name = "robot_token"
why = "addresses the group"
uses = ["egress"]
required = false
public-until = ":"

[[egress]]
host = "api.example.com"
methods = ["GET", "POST"]
path = "/v1.0/"
places = ["token:access_token@header:X-Access-Token", "secret:robot_token@query:access_token", "setting:robot_code@json:/robotCode"]
rate = "20/1m"

[[egress]]
host = "${setting:callback_url}"
methods = ["POST"]
places = ["setting:robot_code@path"]

[[tokens]]
name = "access_token"
method = "POST"
url = "https://api.example.com/oauth/token?code=${setting:robot_code}"
headers = { content-type = "application/json" }
body = '{"appSecret":"${secret:app_secret}"}'
value = "/accessToken"
lifetime = "/expireIn"
lifetime-default = "2h"

[limits]
memory = "8MiB"
time = "500ms"

[[selftest]]
name = "a greeting"
clock-ms = 1700000000000
settings = { robot_code = "r" }
secrets = { app_secret = "made up" }
request = { path = "/", headers = { Sign = "x" }, body = "{}" }
expect = { reception = "accept", status = 200, messages = [{ id = "m1" }] }

[[vectors]]
algo = ["callback-verify"]
clock-ms = "${inputs.now_ms}"
secrets = { app_secret = "${inputs.secret}" }
request = { body = "${inputs.body}" }
"#;

const LEAST: &str = r#"
name = "least"
version = "0.1.0"
kind = "pipeline"
contract = "0.1"
license = "Apache-2.0"
description = "Does little"
"#;

fn problems(text: &str) -> Vec<Problem> {
    Manifest::parse(text).expect_err("something is wrong")
}

/// The one problem of the least manifest with this behind it.
fn problem(tail: &str) -> String {
    let found = problems(&format!("{LEAST}{tail}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn a_whole_manifest_is_read_as_written() {
    let manifest = Manifest::parse(WHOLE).expect("a sound manifest");
    assert_eq!((manifest.name.as_str(), manifest.kind), ("chatty", Kind::Adapter));
    assert_eq!(manifest.update_interval, Some(Duration::from_secs(1)));
    assert_eq!(manifest.opening_calls, 2);
    assert_eq!(manifest.limits, Limits { memory_bytes: 8 << 20, time: Duration::from_millis(500) });
    assert_eq!(manifest.secrets[0].uses, [SecretUse::Hmac, SecretUse::Egress]);
    assert!(manifest.secrets[0].required && !manifest.secrets[1].required);
    assert_eq!(manifest.secrets[0].public_until, None);
    assert_eq!(manifest.secrets[1].public_until.as_deref(), Some(":"));
    let egress = &manifest.egress[0];
    assert_eq!(egress.host, EgressHost::Name { host: "api.example.com".to_owned(), port: None });
    let place = Place {
        what: Placeholder::Token("access_token".to_owned()),
        at: Spot::Header("x-access-token".to_owned()),
    };
    assert_eq!((&egress.places[0], egress.path.as_str()), (&place, "/v1.0/"));
    assert_eq!(egress.places[2].at, Spot::Json("/robotCode".to_owned()));
    assert_eq!(egress.rate, Some(Rate { count: 20, per: Duration::from_secs(60) }));
    assert_eq!(manifest.egress[1].host, EgressHost::Setting("callback_url".to_owned()));
    assert_eq!(manifest.egress[1].path, "/");
    let token = manifest.token("access_token").expect("the token");
    assert_eq!(token.lifetime_default, Some(Duration::from_secs(7200)));
    assert_eq!(token.refresh_margin, Duration::from_secs(300));
    let test = &manifest.selftests[0];
    assert_eq!((test.request.method.as_str(), test.expect.reception), ("POST", Reception::Accept));
    assert_eq!(test.request.headers, [("sign".to_owned(), "x".to_owned())]);
    assert_eq!(test.expect.messages, Some(vec![json!({ "id": "m1" })]));
    let counted = WHOLE.replace("messages = [{ id = \"m1\" }]", "messages = 2");
    let counted = Manifest::parse(&counted).expect("a sound manifest");
    assert_eq!(counted.selftests[0].expect.messages, Some(vec![json!({}), json!({})]));
    assert_eq!(manifest.vectors[0].clock_ms, Some(json!("${inputs.now_ms}")));
}

#[test]
fn the_least_manifest_has_its_defaults() {
    let manifest = Manifest::parse(LEAST).expect("a sound manifest");
    assert_eq!(manifest.limits, Limits { memory_bytes: 16 << 20, time: Duration::from_secs(2) });
    assert_eq!((manifest.update_interval, manifest.opening_calls), (None, 1));
    assert!(manifest.settings_problems(&BTreeMap::new()).is_empty());
}

#[test]
fn all_problems_come_at_once_in_the_order_of_their_lines() {
    let text = "name = \"Not Good\"\nkind = \"adaptor\"\nversoin = \"1\"\ncontract = 1\nlicense = \"x\"\n\
                [limits]\nmemory = \"1TiB\"\ntime = \"11s\"\n[[egress]]\nhost = \"*.example.com\"\nmethods = []\n";
    let found = problems(text);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    for wanted in [
        "line 1: `description` is missing: add it",
        "line 1: `version` is missing: add it",
        "line 1: `name`: use 1 to 63",
        "line 2: `kind`: `adaptor` is none of `adapter`, `pipeline`",
        "line 3: unknown key `versoin`: did you mean `version`?",
        "line 4: `contract`: a text in quotes is wanted",
        "line 7: `memory`: `1TiB` is no size",
        "line 8: `time`: the host gives a call at most 10 s",
        "line 9: say in `methods`",
        "line 10: `host`: `*.example.com` is no host",
    ] {
        assert!(told.iter().any(|text| text.starts_with(wanted)), "{wanted} is not among {told:#?}");
    }
    assert_eq!(found.len(), 10, "{told:#?}");
    assert!(found.is_sorted_by_key(|problem| problem.line));
}

#[test]
fn what_is_known_is_told_once() {
    let told = problem("[limits]\nmemory = \"8MiB\"\nwhatsoever = 1\n");
    assert!(told.ends_with("unknown key `whatsoever`: known are `memory`, `time`"), "{told}");
    let told = problem("whatsoever = 1\n");
    assert_eq!(told.matches("`settings`").count(), 1, "{told}");
}

#[test]
fn broken_toml_is_told_by_its_line() {
    let found = problems("name = \"a\"\nversion = = 2\n");
    assert!(found.iter().any(|problem| problem.line == 2), "{found:?}");
    assert_eq!(problems(&"#".repeat(300 << 10)).len(), 1);
}

#[test]
fn names_that_nobody_defined_are_told_with_their_neighbours() {
    let text = WHOLE.replace("token:access_token@", "token:acces_token@");
    let text = text.replace("${secret:app_secret}", "${secret:app_sercet}");
    let told: Vec<String> = problems(&text).iter().map(|problem| problem.text.clone()).collect();
    assert_eq!(
        told,
        [
            "unknown token `acces_token`: did you mean `access_token`?",
            "unknown secret `app_sercet`: did you mean `app_secret`?"
        ]
    );
}

#[test]
fn a_secret_that_is_put_in_must_say_so() {
    let text = WHOLE.replace(r#"uses = ["hmac", "egress"]"#, r#"uses = ["hmac"]"#);
    let told = problems(&text);
    assert!(told[0].text.contains("add `egress` to its `uses`"), "{told:?}");
}

#[test]
fn a_pace_of_updates_that_nobody_could_keep_is_refused() {
    for wrong in ["50ms", "31s", "1h"] {
        let found =
            problems(&WHOLE.replace("update-interval = \"1s\"", &format!("update-interval = \"{wrong}\"")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().starts_with("line 8: `update-interval`: name a time from 100ms to 30s"));
    }
    for wrong in ["0", "5", "-1", "\"2\""] {
        let found = problems(&WHOLE.replace("opening-calls = 2", &format!("opening-calls = {wrong}")));
        let wanted = "line 9: `opening-calls`: a whole number from 1 to 4 is wanted";
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [wanted]);
    }
    let told = problem("opening-calls = 2\n");
    assert!(told.contains("name an `update-interval`"), "{told}");
    let told = problem("update-interval = \"1s\"\n");
    assert!(told.contains("`update-interval` is for adapters"), "{told}");
}

#[test]
fn each_wrong_permission_says_what_to_do() {
    for (tail, wanted) in [
        ("[[egress]]\nhost = \"https://a.example.com\"\nmethods = [\"GET\"]", "line 9: `host`"),
        ("[[egress]]\nhost = \"a.example.com/x\"\nmethods = [\"GET\"]", "without scheme or path"),
        ("[[egress]]\nhost = \"A.example.com\"\nmethods = [\"GET\"]", "lower case"),
        ("[[egress]]\nhost = \"a.example.com\"\nmethods = [\"get\"]", "`get` is none of `GET`"),
        ("[[egress]]\nhost = \"a.example.com\"\nmethods = [\"GET\"]\npath = \"/a/../b\"", "without `..`"),
        (
            "[[egress]]\nhost = \"a.example.com\"\nmethods = [\"GET\"]\nrate = \"20\"",
            "write one like `20/1m`",
        ),
        (
            "[[egress]]\nhost = \"a.example.com\"\nmethods = [\"GET\"]\nplaces = [\"x\"]",
            "write one like `secret:NAME@",
        ),
        ("[[secrets]]\nname = \"s\"\nwhy = \"w\"", "say in `uses`"),
        ("[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"sign\"]", "`sign` is none of `equals`"),
        (
            "[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"egress\"]\npublic-until = \"\"",
            "`public-until`: `` is no mark: write 1 to 4 ASCII signs",
        ),
        (
            "[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"egress\"]\npublic-until = \"b\"",
            "no letters or digits",
        ),
        (
            "[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"egress\"]\npublic-until = \"：\"",
            "`：` is no mark",
        ),
        (
            "[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"hmac\"]\npublic-until = \":\"",
            "add `egress` to `uses`",
        ),
        (
            "[[tokens]]\nname = \"t\"\nmethod = \"GET\"\nurl = \"http://a.example.com/\"\nvalue = \"/a\"\nlifetime = \"/b\"",
            "begin with `https://`",
        ),
        (
            "[[tokens]]\nname = \"t\"\nmethod = \"GET\"\nurl = \"https://a.example.com/\"\nvalue = \"/a\"",
            "say how long the token lives",
        ),
        (
            "[[tokens]]\nname = \"t\"\nmethod = \"GET\"\nurl = \"https://a.example.com/${token:t}\"\nvalue = \"/a\"\nlifetime = \"/b\"",
            "cannot hold another token",
        ),
    ] {
        let told = problem(tail);
        assert!(told.contains(wanted), "{tail}\n{told}");
    }
}

const SOCKET: &str = r#"
[[sockets]]
host = "events.example.com"
places = ["ticket:entry@query:ticket"]

[[egress]]
host = "api.example.com"
methods = ["POST"]
tickets = ["entry@/ticket"]
"#;

#[test]
fn a_socket_is_kept_under_the_settings_that_ask_for_it() {
    let adapter = LEAST.replace("pipeline", "adapter");
    let settings = "[settings.properties]\nmode = { type = \"string\", default = \"webhook\" }\n";
    let connects = "connects = { mode = \"stream\" }\n";
    let manifest = Manifest::parse(&format!("{adapter}{connects}{settings}{SOCKET}")).unwrap();
    let does = |mode: &[(&str, &str)]| {
        let given = mode.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        manifest.does_connect(&manifest.with_defaults(&given))
    };
    assert!(does(&[("mode", "stream")]) && !does(&[("mode", "webhook")]) && !does(&[]));
    assert_eq!(manifest.sockets[0].places[0].what, Placeholder::Ticket("entry".to_owned()));
    assert_eq!(manifest.sockets[0].methods, ["GET"]);
    let always = Manifest::parse(&format!("{adapter}connects = {{}}\n{SOCKET}")).unwrap();
    assert!(always.does_connect(&BTreeMap::new()));
    assert!(!Manifest::parse(LEAST).unwrap().does_connect(&BTreeMap::new()));
}

#[test]
fn a_socket_that_cannot_be_kept_is_told() {
    let adapter = LEAST.replace("pipeline", "adapter");
    let tell = |text: String| problems(&text).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(tell(format!("{adapter}{SOCKET}")).contains("say in `connects` when"));
    assert!(tell(format!("{adapter}connects = {{}}\n")).contains("name it in `[[sockets]]`"));
    let unknown = SOCKET.replace("ticket:entry@", "ticket:entri@");
    assert!(
        tell(format!("{adapter}connects = {{}}\n{unknown}"))
            .contains("unknown ticket `entri`: did you mean `entry`?")
    );
    let elsewhere = SOCKET.replace("tickets =", "places = [\"ticket:entry@query:t\"]\ntickets =");
    assert!(tell(format!("{adapter}connects = {{}}\n{elsewhere}")).contains("its place is in `[[sockets]]`"));
    let pointless = SOCKET.replace("entry@/ticket", "entry");
    assert!(tell(format!("{adapter}connects = {{}}\n{pointless}")).contains("NAME@/pointer"));
    assert!(tell(format!("{LEAST}connects = {{}}\n{SOCKET}")).contains("`connects` is for adapters"));
}

#[test]
fn a_host_of_a_token_cannot_be_put_together_from_settings() {
    let tail = "[settings.properties]\nhost = { type = \"string\" }\n[[tokens]]\nname = \"t\"\nmethod = \"GET\"\n\
                url = \"https://a.example.com${setting:host}/\"\nvalue = \"/a\"\nlifetime = \"/b\"";
    assert!(problem(tail).contains("a host and a path, then placeholders"));
}

#[test]
fn a_name_that_stands_twice_is_told() {
    let secret = "[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"hmac\"]\n";
    assert_eq!(problem(&secret.repeat(2)), "line 12: `s` is named twice: rename one");
}

#[test]
fn a_schema_that_cannot_be_checked_is_refused() {
    for (tail, wanted) in [
        ("[settings.properties]\na = { type = \"string\", pattern = \"x\" }", "unknown keyword `pattern`"),
        ("[settings.properties]\na = { type = \"text\" }", "say its `type`"),
        ("[settings.properties]\na = { type = \"integer\", minimum = \"1\" }", "`minimum` cannot be \"1\""),
        (
            "[settings.properties]\na = { type = \"integer\", default = \"1\" }",
            "is a text: a whole number is wanted",
        ),
        (
            "[settings]\nrequired = [\"b\"]\n[settings.properties]\na = { type = \"string\" }",
            "`required` names `b`",
        ),
        (
            "[settings.properties]\na = { type = \"string\", format = \"file\" }",
            "`format` cannot be \"file\"",
        ),
        ("[settings.properties]\na = { type = \"integer\", format = \"model\" }", "`format` is for a text"),
        (
            "[settings.properties]\na = { type = \"string\", format = \"lines-of-file\", default = \"x\" }",
            "for a setting itself, without a default",
        ),
        (
            "[settings.properties.a]\ntype = \"array\"\nitems = { type = \"string\", format = \"lines-of-file\" }",
            "for a setting itself, without a default",
        ),
    ] {
        let told = problem(tail);
        assert!(told.contains(wanted), "{told}");
    }
}

fn settings(value: Value) -> BTreeMap<String, Value> {
    value.as_object().expect("an object").clone().into_iter().collect()
}

#[test]
fn settings_are_compared_with_the_schema() {
    let manifest = Manifest::parse(WHOLE).expect("a sound manifest");
    let sound = settings(json!({ "robot_code": "r", "retries": 5, "names": ["a"] }));
    assert!(manifest.settings_problems(&sound).is_empty());
    let wrong = settings(
        json!({ "robotcode": "r", "style": "huge", "retries": 6, "names": [1], "callback_url": "x" }),
    );
    let told = manifest.settings_problems(&wrong);
    for wanted in [
        "unknown setting `robotcode`: did you mean `robot_code`?",
        "set `robot_code`: shown on the robot's page",
        "`style` must be one of \"short\", \"long\"",
        "`retries` is over its most, 5",
        "`names[0]` is a number: a text is wanted",
        "`callback_url` is no URL: begin with `https://`",
    ] {
        assert!(told.iter().any(|text| text == wanted), "{wanted} is not among {told:#?}");
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn settings_tell_which_files_and_models_they_name() {
    let tail = "[settings.properties]\nlist = { type = \"string\", format = \"lines-of-file\" }\n\
                one = { type = \"string\", format = \"model\" }\n\
                some = { type = \"array\", items = { type = \"string\", format = \"model\" } }\n\
                text = { type = \"string\" }\n";
    let manifest = Manifest::parse(&format!("{LEAST}{tail}")).expect("a sound manifest");
    assert_eq!(manifest.settings_files().collect::<Vec<_>>(), ["list"]);
    let given = settings(json!({ "list": "./a.txt", "one": "x", "some": ["y", "z"], "text": "w" }));
    let named = [("one", "x"), ("some[0]", "y"), ("some[1]", "z")];
    assert_eq!(manifest.settings_models(&given), named.map(|(at, name)| (at.to_owned(), name.to_owned())));
}

#[test]
fn defaults_stand_in_where_the_operator_is_silent() {
    let manifest = Manifest::parse(WHOLE).expect("a sound manifest");
    let all = manifest.with_defaults(&settings(json!({ "robot_code": "r", "retries": 1 })));
    assert_eq!(Value::from_iter(all), json!({ "robot_code": "r", "retries": 1, "style": "short" }));
}

#[test]
fn secrets_are_compared_by_name() {
    let manifest = Manifest::parse(WHOLE).expect("a sound manifest");
    assert!(manifest.secrets_problems(["app_secret"]).is_empty());
    assert_eq!(
        manifest.secrets_problems(["app_secrets"]),
        [
            "unknown secret `app_secrets`: did you mean `app_secret`?",
            "set the secret `app_secret`: signs what the platform sends"
        ]
    );
}
