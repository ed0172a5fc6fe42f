//! Texts whose pieces can be found again, wherever a platform's form has put them.

use serde_json::Value;

/// `count` words, each with its number, in lines and paragraphs.
pub fn numbered(count: usize) -> String {
    let mut text = String::new();
    for number in 1..=count {
        let behind = match number {
            _ if number == count => "",
            _ if number % 60 == 0 => "\n\n",
            _ if number % 12 == 0 => "\n",
            _ => " ",
        };
        text.push_str(&format!("w{number:05}x{behind}"));
    }
    text
}

/// The numbers of the words in a text, in its order.
pub fn numbers(text: &str) -> Vec<usize> {
    let word = |start: usize| {
        let (digits, end) = (text.get(start + 1..start + 6)?, text.get(start + 6..start + 7)?);
        (end == "x").then(|| digits.parse().ok()).flatten()
    };
    text.match_indices('w').filter_map(|(start, _)| word(start)).collect()
}

/// Where each word stands for the first time: a platform's title may show the beginning again.
pub fn first_numbers(texts: impl IntoIterator<Item = String>) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for number in texts.into_iter().flat_map(|text| numbers(&text)) {
        if !found.contains(&number) {
            found.push(number);
        }
    }
    found
}

/// All that a body says: the texts in its JSON, also in JSON that stands in a text; else the body as it is.
pub fn texts(body: &[u8]) -> String {
    let mut all = Vec::new();
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => gather(&value, &mut all),
        Err(_) => all.push(String::from_utf8_lossy(body).into_owned()),
    }
    all.join("\n")
}

fn gather(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => gather(&inner, into),
            _ => into.push(text.clone()),
        },
        Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_again_in_json_inside_of_json() {
        let text = numbered(3);
        let inner = serde_json::json!({ "text": text }).to_string();
        let body = serde_json::json!({ "content": inner, "n": 1 }).to_string();
        assert_eq!(numbers(&texts(body.as_bytes())), [1, 2, 3]);
        assert_eq!(numbers("w0000 w00001 ww00002xw"), [2]);
        assert_eq!(first_numbers([text.clone(), text]), [1, 2, 3]);
    }
}
