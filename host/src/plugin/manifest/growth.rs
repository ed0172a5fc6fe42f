//! What one manifest asks for beyond another: an upgrade that asks for more waits for the operator's yes.
//!
//! Rules of egress are compared by what they do, not by how they are written: of all rules the first that fits a
//! request counts, so both manifests are asked about one request for each place where an answer may begin to
//! differ (`probes`). It judges nothing: who may say yes is the deployment's affair.

use std::collections::{BTreeMap, BTreeSet};

use super::told::{size, span};
use super::{Egress, EgressHost, Limits, Manifest, Place, Placeholder, Rate, Secret, Token, is_below};

/// A segment that no manifest can name.
const ANY_SEGMENT: &str = "?";

/// What `new` asks for that `old` does not, one line for each thing; none if it asks for nothing more.
pub fn grown(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    if old.kind != new.kind {
        lines.push(format!("is {} now, not {}", new.kind.told(), old.kind.told()));
    }
    new.secrets.iter().for_each(|secret| of_secret(old.secret(&secret.name), secret, &mut lines));
    new.tokens.iter().for_each(|token| of_token(old.token(&token.name), token, &mut lines));
    of_mints(old, new, &mut lines);
    of_egress(old, new, &mut lines);
    of_sockets(old, new, &mut lines);
    of_limits(&old.limits, &new.limits, &mut lines);
    lines
}

fn of_secret(old: Option<&Secret>, new: &Secret, lines: &mut Vec<String>) {
    let Some(old) = old else {
        let uses: Vec<&str> = new.uses.iter().map(|serves| serves.as_str()).collect();
        lines.push(format!("uses the secret `{}` for {}: {}", new.name, uses.join(", "), new.why));
        of_public_part(None, new, lines);
        return;
    };
    let more: Vec<&str> =
        new.uses.iter().filter(|serves| !old.uses.contains(serves)).map(|serves| serves.as_str()).collect();
    if !more.is_empty() {
        lines.push(format!("uses the secret `{}` for {} as well", new.name, more.join(", ")));
    }
    if let Some(prefix) = new.prefix.as_ref().filter(|prefix| old.prefix.as_ref() != Some(prefix)) {
        lines.push(format!("drops `{prefix}` from the front of the secret `{}`", new.name));
    }
    of_public_part(old.public_until.as_deref(), new, lines);
}

/// Another mark may stand behind more of it.
fn of_public_part(old: Option<&str>, new: &Secret, lines: &mut Vec<String>) {
    if let Some(mark) = new.public_until.as_deref().filter(|mark| old != Some(*mark)) {
        lines.push(format!("sees the secret `{}` up to its first `{mark}` in what is answered", new.name));
    }
}

fn of_token(old: Option<&Token>, new: &Token, lines: &mut Vec<String>) {
    let recipe =
        |token: &Token| (token.method.clone(), token.url.clone(), token.headers.clone(), token.body.clone());
    match old {
        None => lines.push(format!("mints the token `{}` {}", new.name, new.told())),
        Some(old) if recipe(old) != recipe(new) => {
            lines.push(format!("mints the token `{}` in another way: {}", new.name, new.told()));
        }
        Some(old) if old.value != new.value => {
            lines.push(format!("takes the token `{}` from `{}` of the answer", new.name, new.value));
        }
        Some(_) => {}
    }
}

/// Where a token is minted the plugin itself may not ask. Once the token is gone it may.
fn of_mints(old: &Manifest, new: &Manifest, lines: &mut Vec<String>) {
    let is_gone = |token: &&Token| new.tokens.iter().all(|other| other.url != token.url);
    for token in old.tokens.iter().filter(is_gone) {
        let mint = url::Url::parse(&token.url.to_string()).ok();
        let reaches = |rule: &&Egress| mint.as_ref().is_some_and(|mint| is_at(rule, mint));
        if let Some(rule) = new.egress.iter().find(reaches) {
            lines.push(format!(
                "asks itself at `{}`, where the token `{}` was minted",
                rule.address(),
                token.name
            ));
        }
    }
}

fn is_at(rule: &Egress, url: &url::Url) -> bool {
    match &rule.host {
        EgressHost::Name { host, port } => {
            url.host_str() == Some(host) && url.port() == *port && is_below(url.path(), &rule.path)
        }
        // The operator says where it leads.
        EgressHost::Setting(_) => false,
    }
}

fn of_limits(old: &Limits, new: &Limits, lines: &mut Vec<String>) {
    if new.memory_bytes > old.memory_bytes {
        lines.push(format!("takes {} of memory, so far {}", size(new.memory_bytes), size(old.memory_bytes)));
    }
    if new.time > old.time {
        lines.push(format!("computes for {} a call, so far {}", span(new.time), span(old.time)));
    }
}

fn of_sockets(old: &Manifest, new: &Manifest, lines: &mut Vec<String>) {
    for socket in new.sockets.iter().filter(|socket| !old.sockets.contains(socket)) {
        let put_in: Vec<String> =
            socket.places.iter().map(|place| format!("{} in {}", place.what.told(), place.at)).collect();
        let with = if put_in.is_empty() { String::new() } else { format!(" with {}", put_in.join(", ")) };
        lines.push(format!("has a socket kept open to `{}`{with}", socket.address()));
    }
    for ticket in old.tickets().filter(|ticket| !new.tickets().any(|other| other == *ticket)) {
        lines.push(format!(
            "reads the ticket `{}`, which was kept from it, at `{}` of an answer",
            ticket.name, ticket.value
        ));
    }
}

fn of_egress(old: &Manifest, new: &Manifest, lines: &mut Vec<String>) {
    let mut compared = Compared::default();
    for probe in probes(old, new) {
        if let Some((index, rule)) = probe.rule(new) {
            compared.note(index, rule, probe.rule(old), &probe);
        }
    }
    for (index, rule) in new.egress.iter().enumerate() {
        compared.of_reach(index, rule, lines);
        of_default(old, new, rule, lines);
        compared.of_places(index, rule, lines);
    }
    compared.of_rates(old, new, lines);
}

/// A destination out of a setting that the operator leaves out is the manifest's own.
fn of_default(old: &Manifest, new: &Manifest, rule: &Egress, lines: &mut Vec<String>) {
    let EgressHost::Setting(name) = &rule.host else { return };
    let Some(default) = new.settings.default_of(name) else { return };
    if old.settings.default_of(name) != Some(default) {
        lines.push(format!("sends to {default} where the setting `{name}` is not set"));
    }
}

/// A request as the rules see it.
struct Probe<'a> {
    host: &'a EgressHost,
    method: &'a str,
    path: String,
}

/// For each host and method of the new rules a request at each path that a rule of either manifest names, and one
/// below it: between two of these no rule begins or ends.
fn probes<'a>(old: &'a Manifest, new: &'a Manifest) -> Vec<Probe<'a>> {
    let rules = || old.egress.iter().chain(&new.egress);
    let mut probes = Vec::new();
    for rule in &new.egress {
        for method in &rule.methods {
            for other in rules().filter(|other| other.host == rule.host) {
                let below = format!("{}/{ANY_SEGMENT}", other.path.trim_end_matches('/'));
                probes.extend([other.path.clone(), below].map(|path| Probe {
                    host: &rule.host,
                    method,
                    path,
                }));
            }
        }
    }
    probes
}

impl Probe<'_> {
    /// The rule that counts for it, as egress finds it: the first that fits.
    fn rule<'a>(&self, manifest: &'a Manifest) -> Option<(usize, &'a Egress)> {
        let fits = |rule: &Egress| {
            rule.host == *self.host
                && rule.methods.iter().any(|method| method == self.method)
                && is_below(&self.path, &rule.path)
        };
        manifest.egress.iter().enumerate().find(|(_, rule)| fits(rule))
    }
}

/// What the probes found, by the index of the rules.
#[derive(Default)]
struct Compared<'a> {
    /// New rule: methods that no old rule allowed.
    reach: BTreeMap<usize, BTreeSet<String>>,
    /// New rule: what it puts in where and the old rule did not.
    places: BTreeMap<usize, Vec<&'a Place>>,
    /// Old rule: the new ones that allow what it allowed.
    successors: BTreeMap<usize, BTreeSet<usize>>,
}

impl<'a> Compared<'a> {
    fn note(&mut self, index: usize, rule: &'a Egress, old: Option<(usize, &Egress)>, probe: &Probe<'_>) {
        match old {
            None => drop(self.reach.entry(index).or_default().insert(probe.method.to_owned())),
            Some((was, _)) => drop(self.successors.entry(was).or_default().insert(index)),
        }
        let places = self.places.entry(index).or_default();
        for place in rule.places.iter().filter(|place| !matches!(place.what, Placeholder::Setting(_))) {
            let is_old = old.is_some_and(|(_, old)| old.places.contains(place));
            if !is_old && !places.contains(&place) {
                places.push(place);
            }
        }
    }

    fn of_reach(&self, index: usize, rule: &Egress, lines: &mut Vec<String>) {
        if let Some(methods) = self.reach.get(&index) {
            let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
            lines.push(format!("sends {} to `{}`", methods.join(", "), rule.address()));
        }
    }

    fn of_places(&self, index: usize, rule: &Egress, lines: &mut Vec<String>) {
        for place in self.places.get(&index).into_iter().flatten() {
            lines.push(format!("puts {} into {} at `{}`", place.what.told(), place.at, rule.address()));
        }
    }

    /// Each new rule has room of its own, so that two in the place of one may send twice as much.
    fn of_rates(&self, old: &Manifest, new: &Manifest, lines: &mut Vec<String>) {
        for (was, successors) in &self.successors {
            let rule = &old.egress[*was];
            let rules = || successors.iter().map(|index| &new.egress[*index]);
            let of_key = rule.rate.map(|rate| {
                (
                    rate,
                    most(rate, rules(), |rule| rule.rates_in_all.iter().chain(&rule.rate)),
                    "of one limit key ",
                )
            });
            let in_all = rule.rates_in_all.iter().map(|rate| {
                (*rate, most(*rate, rules(), |rule| rule.rates_in_all.iter().chain(&None)), "in all ")
            });
            for (rate, most, whose) in of_key.into_iter().chain(in_all) {
                lines.extend(rate_line(rule, rate, most, whose));
            }
        }
    }
}

/// How many requests these rules allow together in the span of `rate`; none: no bound.
fn most<'a, I: Iterator<Item = &'a Rate>>(
    rate: Rate,
    rules: impl Iterator<Item = &'a Egress>,
    rates: impl Fn(&'a Egress) -> I,
) -> Option<u128> {
    let within = |other: &Rate| {
        let spans = rate.per.as_nanos().div_ceil(other.per.as_nanos().max(1));
        u128::from(other.count).saturating_mul(spans)
    };
    rules.map(|rule| rates(rule).map(within).min()).sum()
}

fn rate_line(rule: &Egress, rate: Rate, most: Option<u128>, whose: &str) -> Option<String> {
    let address = rule.address();
    match most {
        Some(most) if most <= u128::from(rate.count) => None,
        Some(most) => Some(format!("sends {most}/{} {whose}to `{address}`, so far {rate}", span(rate.per))),
        None => Some(format!("sends {whose}without a bound to `{address}`, so far {rate}")),
    }
}
