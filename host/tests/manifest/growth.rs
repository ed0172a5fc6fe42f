//! What an upgrade asks for beyond what was granted: each thing by a line of its own, and nothing that is less.

use parlor::plugin::manifest::{Manifest, grown};
use proptest::prelude::*;

const HEAD: &str = r#"
name = "chatty"
version = "0.1.0"
kind = "adapter"
contract = "0.1"
license = "Apache-2.0"
description = "Talks to Example"

[settings.properties]
callback_url = { type = "string", format = "uri" }

[limits]
memory = "16MiB"
time = "2s"

[[secrets]]
name = "app_secret"
why = "signs what the platform sends"
uses = ["hmac", "egress"]

[[egress]]
host = "api.example.com"
methods = ["POST"]
path = "/v1/"
places = ["secret:app_secret@query:key"]
rate = "20/1m"
rates-in-all = ["50/1s", "1000/1m"]

[[egress]]
host = "${setting:callback_url}"
methods = ["POST"]

[[tokens]]
name = "access"
method = "POST"
url = "https://api.example.com/token"
value = "/token"
lifetime-default = "2h"
"#;

fn manifest(text: &str) -> Manifest {
    Manifest::parse(text).expect("a sound manifest")
}

/// What the manifest asks for in addition with this text in the place of that.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(HEAD.contains(from), "{from}");
    grown(&manifest(HEAD), &manifest(&HEAD.replace(from, to)))
}

fn added(tail: &str) -> Vec<String> {
    grown(&manifest(HEAD), &manifest(&format!("{HEAD}{tail}")))
}

#[test]
fn what_is_the_same_or_less_asks_for_nothing_more() {
    assert!(grown(&manifest(HEAD), &manifest(HEAD)).is_empty());
    for (from, to) in [
        ("version = \"0.1.0\"", "version = \"0.2.0\""),
        ("16MiB", "8MiB"),
        ("\"2s\"", "\"1s\""),
        ("20/1m", "10/30s"),
        ("[\"50/1s\", \"1000/1m\"]", "[\"40/1s\", \"900/1m\", \"5000/1h\"]"),
        ("path = \"/v1/\"", "path = \"/v1/chat\""),
        ("places = [\"secret:app_secret@query:key\"]", ""),
        ("uses = [\"hmac\", \"egress\"]", "uses = [\"egress\"]"),
        ("why = \"signs what", "why = \"verifies what"),
        ("\"2h\"", "\"1h\""),
    ] {
        assert_eq!(changed(from, to), [""; 0], "{from} → {to}");
    }
}

#[test]
fn each_thing_that_is_more_is_told_in_a_line_of_its_own() {
    for (from, to, line) in [
        ("16MiB", "32MiB", "takes 32 MiB of memory, so far 16 MiB"),
        ("time = \"2s\"", "time = \"2500ms\"", "computes for 2500ms a call, so far 2s"),
        ("\"hmac\", ", "\"hmac\", \"digest\", ", "uses the secret `app_secret` for digest as well"),
        ("uses =", "prefix = \"SEC\"\nuses =", "drops `SEC` from the front of the secret `app_secret`"),
        (
            "uses =",
            "public-until = \":\"\nuses =",
            "sees the secret `app_secret` up to its first `:` in what is answered",
        ),
        ("path = \"/v1/\"", "path = \"/\"", "sends POST to `https://api.example.com/`"),
        (
            "methods = [\"POST\"]\npath",
            "methods = [\"POST\", \"GET\"]\npath",
            "sends GET to `https://api.example.com/v1/`",
        ),
        (
            "@query:key\"",
            "@query:key\", \"secret:app_secret@json:/text\"",
            "puts the secret `app_secret` into the body at `/text` at `https://api.example.com/v1/`",
        ),
        ("20/1m", "40/1m", "sends 40/1m of one limit key to `https://api.example.com/v1/`, so far 20/1m"),
        ("20/1m", "20/10s", "sends 120/1m of one limit key to `https://api.example.com/v1/`, so far 20/1m"),
        (
            "[\"50/1s\", \"1000/1m\"]",
            "[\"50/1s\"]",
            "sends 3000/1m in all to `https://api.example.com/v1/`, so far 1000/1m",
        ),
        (
            "com/token\"",
            "com/token?scope=all\"",
            "mints the token `access` in another way: by POST to `https://api.example.com/token?scope=all`",
        ),
        ("value = \"/token\"", "value = \"/admin\"", "takes the token `access` from `/admin` of the answer"),
        (
            "format = \"uri\"",
            "format = \"uri\", default = \"https://evil.example/\"",
            "sends to \"https://evil.example/\" where the setting `callback_url` is not set",
        ),
    ] {
        assert_eq!(told(from, to, line), line, "{from} → {to}");
    }
}

#[test]
fn each_mark_that_lays_another_part_of_a_secret_open_is_told() {
    let until = |mark: &str| manifest(&HEAD.replace("uses =", &format!("public-until = \"{mark}\"\nuses =")));
    let line =
        |mark: &str| format!("sees the secret `app_secret` up to its first `{mark}` in what is answered");
    assert_eq!(grown(&until(":"), &manifest(HEAD)), [""; 0]);
    assert_eq!(grown(&until(":"), &until("-")), [line("-")]);
    let first = grown(&manifest(HEAD).without_permissions(), &until(":"));
    assert!(first.contains(&line(":")), "a new secret brings it along: {first:?}");
}

/// The one line that tells of a change; a change of a path brings its places along.
fn told(from: &str, to: &str, wanted: &str) -> String {
    let lines = changed(from, to);
    lines.iter().find(|line| *line == wanted).cloned().unwrap_or_else(|| format!("{lines:?}"))
}

#[test]
fn a_new_destination_brings_its_places_and_a_new_secret_its_reason() {
    let lines = added(
        "[[secrets]]\nname = \"bot\"\nwhy = \"addresses the group\"\nuses = [\"egress\"]\n\
         [[egress]]\nhost = \"other.example:8443\"\nmethods = [\"PUT\", \"GET\"]\n\
         places = [\"secret:bot@header:authorization\", \"setting:callback_url@path\"]\n",
    );
    assert_eq!(
        lines,
        [
            "uses the secret `bot` for egress: addresses the group",
            "sends GET, PUT to `https://other.example:8443/`",
            "puts the secret `bot` into the header `authorization` at `https://other.example:8443/`",
        ]
    );
    let token = added(
        "[[tokens]]\nname = \"t\"\nmethod = \"POST\"\nurl = \"https://other.example/t\"\n\
         body = '${secret:app_secret}'\nvalue = \"/t\"\nlifetime-default = \"1h\"\n",
    );
    assert_eq!(
        token,
        ["mints the token `t` by POST to `https://other.example/t` with the secret `app_secret`"]
    );
}

#[test]
fn another_kind_is_more() {
    let new = HEAD.replace("kind = \"adapter\"", "kind = \"pipeline\"");
    assert_eq!(grown(&manifest(HEAD), &manifest(&new)), ["is a pipeline now, not an adapter"]);
}

/// The host refuses a plugin that asks where its token is minted; without the token it would let it.
#[test]
fn a_token_that_is_gone_leaves_its_mint_open() {
    let wide = HEAD.replace("path = \"/v1/\"", "path = \"/\"");
    let without = &wide[..wide.find("[[tokens]]").expect("the tokens are the last")];
    assert_eq!(
        grown(&manifest(&wide), &manifest(without)),
        ["asks itself at `https://api.example.com/`, where the token `access` was minted"]
    );
}

/// Rates are counted by rule: two rules in the place of one would have twice its room.
#[test]
fn a_rule_that_is_cut_in_two_does_not_double_its_rate() {
    let rule = |path: &str, rate: &str| {
        format!(
            "[[egress]]\nhost = \"x.example\"\nmethods = [\"GET\"]\npath = \"{path}\"\nrate = \"{rate}\"\n"
        )
    };
    let whole = manifest(&format!("{HEAD}{}", rule("/", "20/1m")));
    let halves = |rate| manifest(&format!("{HEAD}{}{}", rule("/a", rate), rule("/", rate)));
    assert_eq!(grown(&whole, &halves("10/1m")), [""; 0]);
    assert_eq!(
        grown(&whole, &halves("20/1m")),
        ["sends 40/1m of one limit key to `https://x.example/`, so far 20/1m"]
    );
    assert_eq!(grown(&halves("20/1m"), &whole), [""; 0]);
}

const METHODS: [&str; 2] = ["GET", "POST"];
const PREFIXES: [&str; 5] = ["/", "/a", "/a/", "/a/b", "/ab"];
const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/c", "/a/b", "/a/b/c", "/ab", "/ab/c", "/abc"];
const PLACES: [&str; 2] = ["secret:s@query:k", "secret:s@header:k"];

/// A rule of egress: its methods, its path and its places, each by number.
type Rule = (Vec<usize>, usize, Vec<usize>);

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let some = |of: usize, least| prop::collection::btree_set(0..of, least..=of);
    let rule = (some(2, 1), 0..PREFIXES.len(), some(2, 0)).prop_map(|(methods, path, places)| {
        (methods.into_iter().collect(), path, places.into_iter().collect())
    });
    prop::collection::vec(rule, 0..4)
}

fn of_rules(rules: &[Rule]) -> Manifest {
    let mut text = HEAD[..HEAD.find("[[secrets]]").expect("secrets")].to_owned();
    text.push_str("[[secrets]]\nname = \"s\"\nwhy = \"w\"\nuses = [\"egress\"]\n");
    for (methods, path, places) in rules {
        let methods: Vec<&str> = methods.iter().map(|method| METHODS[*method]).collect();
        let places: Vec<&str> = places.iter().map(|place| PLACES[*place]).collect();
        text.push_str(&format!(
            "[[egress]]\nhost = \"a.example\"\nmethods = {methods:?}\npath = \"{}\"\nplaces = {places:?}\n",
            PREFIXES[*path]
        ));
    }
    manifest(&text)
}

/// Written apart from what it judges: where a request's secrets may stand, if it is allowed at all.
fn allowed(rules: &[Rule], method: usize, path: &str) -> Option<Vec<usize>> {
    let is_below = |prefix: &str| {
        let (prefix, segments) = (prefix.trim_start_matches('/'), path.trim_start_matches('/'));
        let wanted: Vec<&str> = prefix.split('/').collect();
        let given: Vec<&str> = segments.split('/').collect();
        match wanted.split_last() {
            Some((&"", front)) => given.len() > front.len() && given.starts_with(front),
            _ => given.starts_with(&wanted),
        }
    };
    let fits = |rule: &&Rule| rule.0.contains(&method) && is_below(PREFIXES[rule.1]);
    rules.iter().find(fits).map(|rule| rule.2.clone())
}

proptest! {
    /// Exactly if some request is allowed that was not, or holds a secret where it did not.
    #[test]
    fn more_is_told_if_and_only_if_some_request_may_do_more(old in rules(), new in rules()) {
        let is_more = (0..METHODS.len()).any(|method| PATHS.iter().any(|path| {
            match (allowed(&old, method, path), allowed(&new, method, path)) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(old), Some(new)) => new.iter().any(|place| !old.contains(place)),
            }
        }));
        let lines = grown(&of_rules(&old), &of_rules(&new));
        prop_assert_eq!(!lines.is_empty(), is_more, "{:?}", lines);
    }
}
