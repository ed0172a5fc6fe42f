//! The `tojson` filter as chat templates know it: Python's `json.dumps` without ASCII escapes.
//!
//! Minijinja's own is the same but for escapes that make it safe in HTML, which no model has learnt.

use minijinja::value::Kwargs;
use minijinja::{Error, Value, filters};

/// `{{ value | tojson }}` and `{{ value | tojson(indent=2) }}`; what else Python takes (`ensure_ascii`,
/// `separators`) changes nothing that matters here.
pub fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let none: [(&str, Value); 0] = [];
    let json = filters::tojson(value, indent, Kwargs::from_iter(none))?;
    Ok(Value::from_safe_string(without_html_escapes(json.as_str().unwrap_or_default())))
}

fn without_html_escapes(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let escape = &rest[at..];
        let known = [("\\u003c", '<'), ("\\u003e", '>'), ("\\u0026", '&'), ("\\u0027", '\'')];
        let html = known.iter().find(|(code, _)| escape.starts_with(code));
        let length = match html {
            Some((code, c)) => {
                plain.push(*c);
                code.len()
            }
            // the backslash and what it escapes, which may be one too
            None => {
                let length = escape.chars().take(2).map(char::len_utf8).sum();
                plain.push_str(&escape[..length]);
                length
            }
        };
        rest = &escape[length..];
    }
    plain + rest
}
