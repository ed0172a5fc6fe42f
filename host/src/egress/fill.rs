//! Puts secrets, tokens and settings in where the rule binds them, and nowhere else.
//!
//! In two steps, since a token may have to be minted between them: `wanted` finds the placeholders that stand
//! at their places, `fill` puts their values in, escaped for the place. A value is never looked at again, and
//! the same letters anywhere else are plain text.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::destination::denied;
use super::escape;
use crate::plugin::manifest::{Place, Placeholder, Spot};
use crate::plugin::services::{HttpFailure, Outbound};

pub(super) type Values = BTreeMap<Placeholder, String>;

/// What is sent: every placeholder at its place is filled.
#[derive(Debug)]
pub(super) struct Filled {
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// The placeholders that stand at their places in this request.
pub(super) fn wanted(places: &[Place], url: &Url, request: &Outbound) -> BTreeSet<Placeholder> {
    let body = parsed_body(places, &request.body);
    let stands = |place: &&Place| {
        let literal = place.what.literal();
        match &place.at {
            Spot::Header(name) => {
                let named = |(header, _): &&(String, String)| header.eq_ignore_ascii_case(name);
                request.headers.iter().filter(named).any(|(_, value)| value.contains(&literal))
            }
            Spot::Path => raw_path(&request.url).contains(&literal),
            Spot::Query(name) => {
                fields(url).any(|(field, value)| is_named(field, name) && value.contains(&literal))
            }
            Spot::Json(pointer) => {
                let text = body.as_ref().and_then(|body| body.pointer(pointer)).and_then(Value::as_str);
                text.is_some_and(|text| text.contains(&literal))
            }
        }
    };
    places.iter().filter(stands).map(|place| place.what.clone()).collect()
}

/// Fills all places. `values` holds what `wanted` asked for.
pub(super) fn fill(
    places: &[Place],
    values: &Values,
    mut url: Url,
    request: &Outbound,
) -> Result<Filled, HttpFailure> {
    fill_path(places, values, &mut url, request)?;
    fill_query(places, values, &mut url);
    let headers = request.headers.iter().map(|(name, value)| {
        let here = |spot: &Spot| matches!(spot, Spot::Header(header) if name.eq_ignore_ascii_case(header));
        (name.clone(), put(value, &at(places, values, here), str::to_owned).into_owned())
    });
    Ok(Filled { url, headers: headers.collect(), body: fill_body(places, values, &request.body) })
}

/// The placeholders bound to a spot, with their values.
fn at<'a>(places: &[Place], values: &'a Values, here: impl Fn(&Spot) -> bool) -> Vec<(String, &'a str)> {
    let bound = places.iter().filter(|place| here(&place.at));
    bound.filter_map(|place| Some((place.what.literal(), values.get(&place.what)?.as_str()))).collect()
}

/// Puts the values in place of their literals, in one pass from left to right.
fn put<'t>(text: &'t str, bound: &[(String, &str)], escape: fn(&str) -> String) -> Cow<'t, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((start, literal, value)) = first(rest, bound) {
        out.push_str(&rest[..start]);
        out.push_str(&escape(value));
        rest = &rest[start + literal..];
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where the first literal stands, its length and its value.
fn first<'a>(text: &str, bound: &[(String, &'a str)]) -> Option<(usize, usize, &'a str)> {
    let found =
        bound.iter().filter_map(|(literal, value)| Some((text.find(literal)?, literal.len(), *value)));
    found.min_by_key(|(start, ..)| *start)
}

/// The path as the plugin wrote it. The URL's parser would encode the braces, and then a placeholder and the
/// encoded text of a person that looks like one could not be told apart.
fn raw_path(url: &str) -> &str {
    let behind = url.split_once("://").map_or("", |(_, behind)| behind);
    let path = behind.find(['/', '?', '#']).map_or("", |start| &behind[start..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

fn fill_path(
    places: &[Place],
    values: &Values,
    url: &mut Url,
    request: &Outbound,
) -> Result<(), HttpFailure> {
    let bound = at(places, values, |spot| *spot == Spot::Path);
    let Cow::Owned(path) = put(raw_path(&request.url), &bound, escape::percent) else { return Ok(()) };
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if dots {
        return Err(denied("a value that is put into the path would change it"));
    }
    url.set_path(&path);
    Ok(())
}

fn fields(url: &Url) -> impl Iterator<Item = (&str, &str)> {
    let pairs = url.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether this field of a query, still encoded, has the name.
fn is_named(field: &str, name: &str) -> bool {
    form_urlencoded::parse(field.as_bytes()).next().is_some_and(|(decoded, _)| decoded == name)
}

fn fill_query(places: &[Place], values: &Values, url: &mut Url) {
    let bound = places.iter().any(|place| matches!(place.at, Spot::Query(_)));
    let Some(query) = url.query().filter(|_| bound) else { return };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((field, value)) => {
            let here = |spot: &Spot| matches!(spot, Spot::Query(name) if is_named(field, name));
            format!("{field}={}", put(value, &at(places, values, here), escape::percent))
        }
        None => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(pair).collect();
    url.set_query(Some(&query.join("&")));
}

/// The body as JSON, if a place in it could matter.
fn parsed_body(places: &[Place], body: &[u8]) -> Option<Value> {
    let matters = places.iter().any(|place| matches!(place.at, Spot::Json(_)));
    if matters { serde_json::from_slice(body).ok() } else { None }
}

fn fill_body(places: &[Place], values: &Values, body: &Bytes) -> Bytes {
    let Some(mut parsed) = parsed_body(places, body) else { return body.clone() };
    let pointers: BTreeSet<&str> = places
        .iter()
        .filter_map(|place| match &place.at {
            Spot::Json(pointer) => Some(pointer.as_str()),
            _ => None,
        })
        .collect();
    let mut changed = false;
    for pointer in pointers {
        let bound = at(places, values, |spot| matches!(spot, Spot::Json(at) if at == pointer));
        let Some(Value::String(text)) = parsed.pointer_mut(pointer) else { continue };
        if let Cow::Owned(filled) = put(&text.clone(), &bound, str::to_owned) {
            *text = filled;
            changed = true;
        }
    }
    if changed { Bytes::from(parsed.to_string()) } else { body.clone() }
}
