//! `secrets.env`: values for the `${NAME}` of a configuration that the environment does not hold.
//!
//! It takes what a shell (`set -a; . ./secrets.env`), systemd's `EnvironmentFile=` and this host read alike, and
//! refuses what they would read differently. Like `file` it does no I/O. No message holds a value.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::problem::{Place, Problem, Problems};

/// Its name, beside the configuration.
pub const SECRETS_FILE: &str = "secrets.env";

/// Reads the lines `NAME=value` and `NAME='value'`; `#` begins a comment line.
///
/// # Errors
/// Each line that is not of this form.
pub fn parse(text: &str) -> Result<BTreeMap<String, SecretString>, Problems> {
    let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let place = Place { line: index + 1, column: 1 };
        match read(line.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if values.insert(name.to_owned(), SecretString::from(value)).is_some() {
                    problems.push(Problem::new(place, name, "stands here for the second time; remove one"));
                }
            }
            Err(message) => problems.push(Problem::new(place, "", message)),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(Problems::new(problems)) }
}

/// A value as it stands in the file; none if no form of it is read alike by all.
pub fn quoted(value: &str) -> Option<String> {
    if !value.is_empty() && value.chars().all(is_plain) {
        return Some(value.to_owned());
    }
    let fits = !value.contains('\'') && !value.chars().any(char::is_control);
    fits.then(|| format!("'{value}'"))
}

fn read(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("expected `NAME=value`")?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        return Err(
            "what stands before `=` is no name of a variable; expected `NAME=value`, without spaces or `export`",
        );
    }
    unquoted(value).map(|value| Some((name, value)))
}

fn unquoted(value: &str) -> Result<&str, &'static str> {
    if let Some(inner) = value.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'').filter(|inner| !inner.contains('\''));
        return inner.ok_or("the value in single quotes has one too many or too few of them");
    }
    if value.chars().all(is_plain) {
        return Ok(value);
    }
    Err("a shell would read this value differently; put it into single quotes")
}

/// What means itself everywhere.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:+=@%,".contains(c)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_all_readers_take_alike_is_read() {
        let values = parse("# a comment\n\nA=b\n  B='a b $c \"d\" #e'\nC=\nD=sk-1/2+3=\n").unwrap();
        let values: Vec<_> =
            values.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(values, [("A", "b"), ("B", "a b $c \"d\" #e"), ("C", ""), ("D", "sk-1/2+3=")]);
    }

    #[test]
    fn what_readers_take_differently_is_refused_without_its_value() {
        for line in ["A=canary b", "A=\"canary\"", "A=can$ary", "A='canary", "A='can'ary'", "A=canary#1"] {
            let told = parse(line).unwrap_err();
            assert!(!format!("{told:?}").contains("canary"), "{told:?}");
        }
        let told = parse("export A=1\nB = 1\nno\n1A=1\nC=1\nC=2\n").unwrap_err();
        assert_eq!(told.iter().map(|problem| problem.line).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
    }

    #[test]
    fn a_value_is_quoted_so_that_it_is_read_back() {
        for value in ["abc", "a b", "$x", "\"", "a#b", "", "中文"] {
            let line = format!("A={}", quoted(value).unwrap());
            assert_eq!(parse(&line).unwrap()["A"].expose_secret(), value);
        }
        assert_eq!((quoted("it's"), quoted("a\nb")), (None, None));
    }
}
