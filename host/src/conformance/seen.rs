//! What a plugin let out, and a search in it for what it must not.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

use crate::message::{Fault, HttpResponse, Message};

/// Shorter secrets stand in many texts by chance.
const SECRET_BYTES_MIN: usize = 8;

/// All that came out of a plugin so far: its answers and its log.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    pub fn note(&self, bytes: impl AsRef<[u8]>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes.as_ref());
        all.push(b'\n');
    }

    pub fn message(&self, message: &Message) {
        self.note(serde_json::to_vec(message).unwrap_or_default());
        self.note(&message.address);
    }

    pub fn response(&self, response: &HttpResponse) {
        self.note(format!("{:?}", response.headers));
        self.note(&response.body);
    }

    pub fn fault(&self, fault: &Fault) {
        self.note(&fault.reason);
    }

    /// What is logged under it is seen too.
    pub fn log(&self) -> Dispatch {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("parlor=trace")
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        Dispatch::new(subscriber)
    }

    /// The name of a secret that stands in it, plain or in a form that is read back easily.
    pub fn leak<'a>(&self, secrets: impl IntoIterator<Item = (&'a String, &'a String)>) -> Option<&'a str> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = |form: &[u8]| all.windows(form.len()).any(|window| window == form);
        secrets
            .into_iter()
            .find(|(_, value)| {
                value.len() >= SECRET_BYTES_MIN && forms(value).iter().any(|form| stands(form))
            })
            .map(|(name, _)| name.as_str())
    }
}

fn forms(secret: &str) -> [Vec<u8>; 4] {
    [
        secret.as_bytes().to_vec(),
        secret.bytes().rev().collect(),
        hex::encode(secret).into_bytes(),
        STANDARD_NO_PAD.encode(secret).into_bytes(),
    ]
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Seen {
    type Writer = Seen;

    fn make_writer(&'a self) -> Seen {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_each_of_its_forms() {
        let (name, secret) = ("key".to_owned(), "s3cr3t-of-somebody".to_owned());
        for form in forms(&secret) {
            let seen = Seen::default();
            seen.note(b"before");
            assert_eq!(seen.leak([(&name, &secret)]), None);
            seen.note([b"x".as_slice(), &form, b"y"].concat());
            assert_eq!(seen.leak([(&name, &secret)]), Some("key"));
        }
    }
}
