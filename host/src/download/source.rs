//! Addresses of models, as people copy them, turned into the address of the file itself.
//!
//! It does no I/O. Forms of the two hubs: <https://huggingface.co/docs/hub> (`resolve` and `blob`), and
//! modelscope.cn's `resolve` and `file/view`. `hub` asks them; any other address is just a file.

use secrecy::SecretString;
use url::Url;

const HUGGING_FACE: &str = "https://huggingface.co";
const MODEL_SCOPE: &str = "https://modelscope.cn";
const SUFFIX: &str = ".gguf";

/// The variables of this process, as the caller hands them in.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a file comes from.
#[derive(Debug, Clone)]
pub struct Source {
    pub url: Url,
    /// The file's own name, such as `model-q4_k_m.gguf`.
    pub name: String,
    pub(super) hub: Option<Hub>,
    /// Sent to this address's host and to no other.
    pub(super) token: Option<SecretString>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hub {
    HuggingFace,
    /// With the address of its list of files, and this one's path in it.
    ModelScope {
        files: Url,
        path: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error(
        "`{0}` is no address of a model; write `hf:organisation/repository/file.gguf`, \
         `ms:organisation/repository/file.gguf` or an https address of a `.gguf` file"
    )]
    NoAddress(String),
    #[error(
        "`{0}` is the page of a repository, not of a file; open its files and take the address of one `.gguf`"
    )]
    Page(String),
    #[error("`{0}` is no `.gguf` file; models for this process come in that format")]
    NotGguf(String),
    #[error("`{0}` is one part of a split model; take a model that is in one file")]
    Split(String),
    #[error("`{0}` would come unprotected; use https, or say by `--sha256` what the file must be")]
    Plain(String),
    #[error("`{name}` is `{value}`, which is no address; write it like `{example}`")]
    Endpoint { name: &'static str, value: String, example: &'static str },
}

/// A file in a hub's repository.
struct InRepository {
    repository: Vec<String>,
    revision: String,
    path: Vec<String>,
}

impl Source {
    /// Reads an address. `HF_ENDPOINT` and `MODELSCOPE_DOMAIN` name mirrors, `HF_TOKEN` opens gated repositories.
    /// Plain HTTP is for this machine, or for a file whose checksum is known.
    pub fn parse(
        text: &str,
        has_checksum: bool,
        environment: Environment<'_>,
    ) -> Result<Source, SourceError> {
        let mirrors = Mirrors::read(environment)?;
        let source = match text.split_once(':') {
            Some(("hf", rest)) => hugging_face(&mirrors, &short(text, rest, "main")?, environment),
            Some(("ms", rest)) => model_scope(&mirrors.model_scope, &short(text, rest, "master")?),
            _ => mirrors.source(text, environment)?,
        };
        check_name(&source.name)?;
        if source.url.scheme() == "http" && !has_checksum && !is_loopback(&source.url) {
            return Err(SourceError::Plain(text.to_owned()));
        }
        Ok(source)
    }
}

fn check_name(name: &str) -> Result<(), SourceError> {
    let lower = name.to_ascii_lowercase();
    let Some(stem) = lower.strip_suffix(SUFFIX) else {
        return Err(SourceError::NotGguf(name.to_owned()));
    };
    if is_part(stem) { Err(SourceError::Split(name.to_owned())) } else { Ok(()) }
}

/// `…-00001-of-00003`
fn is_part(stem: &str) -> bool {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((before, count)) = stem.rsplit_once("-of-") else { return false };
    is_number(count) && before.rsplit_once('-').is_some_and(|(_, number)| is_number(number))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `organisation/repository[@revision]/path/of/file.gguf`
fn short(text: &str, rest: &str, revision: &str) -> Result<InRepository, SourceError> {
    let wrong = || SourceError::NoAddress(text.to_owned());
    let mut parts = rest.trim_start_matches("//").split('/').map(str::to_owned);
    let (organisation, repository) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    let path: Vec<String> = parts.collect();
    let (repository, revision) = repository.split_once('@').unwrap_or((&repository, revision));
    let repository = vec![organisation, repository.to_owned()];
    if path.is_empty() {
        return Err(SourceError::Page(text.to_owned()));
    }
    if repository.iter().chain(&path).any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(wrong());
    }
    Ok(InRepository { repository, revision: revision.to_owned(), path })
}

/// Where the hubs are.
struct Mirrors {
    hugging_face: Url,
    model_scope: Url,
    /// Whether the operator named the second one.
    is_own_scope: bool,
}

impl Mirrors {
    fn read(environment: Environment<'_>) -> Result<Mirrors, SourceError> {
        let named = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let endpoint = named("HF_ENDPOINT");
        let domain = named("MODELSCOPE_DOMAIN");
        let hugging_face =
            base("HF_ENDPOINT", endpoint.as_deref().unwrap_or(HUGGING_FACE), "https://hub.example.com")?;
        let model_scope =
            base("MODELSCOPE_DOMAIN", domain.as_deref().unwrap_or(MODEL_SCOPE), "www.modelscope.cn")?;
        Ok(Mirrors { hugging_face, model_scope, is_own_scope: domain.is_some() })
    }

    /// What a full address means.
    fn source(&self, text: &str, environment: Environment<'_>) -> Result<Source, SourceError> {
        let url = Url::parse(text).map_err(|_| SourceError::NoAddress(text.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SourceError::NoAddress(text.to_owned()));
        }
        let host = url.host_str().unwrap_or_default().trim_start_matches("www.");
        let segments = segments(&url);
        if url.origin() == self.hugging_face.origin() || matches!(host, "huggingface.co" | "hf.co") {
            let below = below(&segments, &self.hugging_face);
            let file = hugging_face_file(below).ok_or_else(|| SourceError::Page(text.to_owned()))?;
            return Ok(hugging_face(self, &file, environment));
        }
        let is_scope = matches!(host, "modelscope.cn" | "modelscope.ai");
        if is_scope || (self.is_own_scope && url.origin() == self.model_scope.origin()) {
            let file = model_scope_file(&segments).ok_or_else(|| SourceError::Page(text.to_owned()))?;
            let own = base("MODELSCOPE_DOMAIN", &url.origin().ascii_serialization(), "www.modelscope.cn")?;
            return Ok(model_scope(if self.is_own_scope { &self.model_scope } else { &own }, &file));
        }
        let name = segments.last().cloned().unwrap_or_default();
        Ok(Source { url, name, hub: None, token: None })
    }
}

/// A host by its name, or an origin with a path.
fn base(name: &'static str, value: &str, example: &'static str) -> Result<Url, SourceError> {
    let value = value.trim().trim_end_matches('/');
    let full = if value.contains("://") { value.to_owned() } else { format!("https://{value}") };
    let wrong = || SourceError::Endpoint { name, value: value.to_owned(), example };
    let url = Url::parse(&full).map_err(|_| wrong())?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    if fits { Ok(url) } else { Err(wrong()) }
}

/// The decoded parts of a path.
fn segments(url: &Url) -> Vec<String> {
    let decoded = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
    url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).map(decoded).collect()
}

/// What follows the path of a mirror.
fn below<'s>(segments: &'s [String], mirror: &Url) -> &'s [String] {
    segments.strip_prefix(self::segments(mirror).as_slice()).unwrap_or(segments)
}

/// `organisation/repository/resolve|blob|raw/revision/path`; old repositories have no organisation.
fn hugging_face_file(segments: &[String]) -> Option<InRepository> {
    let at = segments.iter().take(3).position(|part| matches!(part.as_str(), "resolve" | "blob" | "raw"))?;
    let (repository, rest) = (&segments[..at], &segments[at + 1..]);
    let (revision, path) = rest.split_first()?;
    let is_whole = !repository.is_empty() && !path.is_empty();
    is_whole.then(|| InRepository {
        repository: repository.to_vec(),
        revision: revision.clone(),
        path: path.to_vec(),
    })
}

/// `models/organisation/repository/resolve|file/view/revision/path`
fn model_scope_file(segments: &[String]) -> Option<InRepository> {
    let [models, organisation, repository, rest @ ..] = segments else { return None };
    let rest = match rest {
        [resolve, rest @ ..] if resolve == "resolve" => rest,
        [file, view, rest @ ..] if file == "file" && view == "view" => rest,
        _ => return None,
    };
    let (revision, path) = rest.split_first().filter(|(_, path)| models == "models" && !path.is_empty())?;
    // The page has the whole path in one part.
    let path = path.iter().flat_map(|part| part.split('/')).map(str::to_owned).collect();
    Some(InRepository {
        repository: vec![organisation.clone(), repository.clone()],
        revision: revision.clone(),
        path,
    })
}

fn hugging_face(mirrors: &Mirrors, file: &InRepository, environment: Environment<'_>) -> Source {
    let resolve = ["resolve".to_owned(), file.revision.clone()];
    let url = extended(&mirrors.hugging_face, file.repository.iter().chain(&resolve).chain(&file.path));
    let token =
        environment("HF_TOKEN").map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let is_safe = url.scheme() == "https" || is_loopback(&url);
    let token = token.filter(|_| is_safe).map(SecretString::from);
    Source { url, name: file.name(), hub: Some(Hub::HuggingFace), token }
}

fn model_scope(base: &Url, file: &InRepository) -> Source {
    let (models, resolve) = (["models".to_owned()], ["resolve".to_owned(), file.revision.clone()]);
    let url = extended(base, models.iter().chain(&file.repository).chain(&resolve).chain(&file.path));
    let api = ["api".to_owned(), "v1".to_owned(), "models".to_owned()];
    let list = ["repo".to_owned(), "files".to_owned()];
    let mut files = extended(base, api.iter().chain(&file.repository).chain(&list));
    files.query_pairs_mut().append_pair("Revision", &file.revision).append_pair("Recursive", "true");
    let path = file.path.join("/");
    Source { url, name: file.name(), hub: Some(Hub::ModelScope { files, path }), token: None }
}

impl InRepository {
    fn name(&self) -> String {
        self.path.last().cloned().unwrap_or_default()
    }
}

fn extended<'p>(base: &Url, parts: impl Iterator<Item = &'p String>) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("an address with a host has a path").pop_if_empty().extend(parts);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Source, SourceError> {
        let look = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Source::parse(text, false, &look)
    }

    fn url(text: &str, variables: &[(&str, &str)]) -> String {
        parse(text, variables).unwrap().url.to_string()
    }

    #[test]
    fn every_form_of_a_hub_s_address_leads_to_the_file() {
        const FILE: &str = "https://huggingface.co/Org/Repo-GGUF/resolve/main/a/m-q4.gguf";
        for text in [
            FILE,
            "https://huggingface.co/Org/Repo-GGUF/resolve/main/a/m-q4.gguf?download=true",
            "https://www.huggingface.co/Org/Repo-GGUF/blob/main/a/m-q4.gguf",
            "https://hf.co/Org/Repo-GGUF/blob/main/a/m-q4.gguf#L1",
            "hf:Org/Repo-GGUF/a/m-q4.gguf",
            "hf://Org/Repo-GGUF@main/a/m-q4.gguf",
        ] {
            assert_eq!(url(text, &[]), FILE, "{text}");
        }
        const OTHER: &str = "https://modelscope.cn/models/Org/Repo/resolve/master/a/m-q4.gguf";
        for text in [
            OTHER,
            "https://modelscope.cn/models/Org/Repo/file/view/master/a%2Fm-q4.gguf?status=2",
            "ms:Org/Repo/a/m-q4.gguf",
        ] {
            assert_eq!(url(text, &[]), OTHER, "{text}");
        }
        assert_eq!(url("hf:Org/Repo@v1/m.gguf", &[]), "https://huggingface.co/Org/Repo/resolve/v1/m.gguf");
        assert_eq!(url("https://a.example/x/m.GGUF?sig=1", &[]), "https://a.example/x/m.GGUF?sig=1");
    }

    #[test]
    fn a_mirror_takes_the_hub_s_place() {
        let mirror =
            [("HF_ENDPOINT", "https://mirror.example/hf/"), ("MODELSCOPE_DOMAIN", "www.modelscope.ai")];
        const FILE: &str = "https://mirror.example/hf/Org/Repo/resolve/main/m.gguf";
        for text in ["hf:Org/Repo/m.gguf", "https://huggingface.co/Org/Repo/blob/main/m.gguf", FILE] {
            assert_eq!(url(text, &mirror), FILE, "{text}");
        }
        assert_eq!(
            url("ms:Org/Repo/m.gguf", &mirror),
            "https://www.modelscope.ai/models/Org/Repo/resolve/master/m.gguf"
        );
        let told = parse("hf:O/R/m.gguf", &[("HF_ENDPOINT", "::")]).unwrap_err().to_string();
        assert!(told.contains("`HF_ENDPOINT` is `::`"), "{told}");
    }

    #[test]
    fn the_token_goes_to_the_hub_alone_and_never_unprotected() {
        let has_token = |text, endpoint| {
            let variables = [("HF_TOKEN", "hf_x"), ("HF_ENDPOINT", endpoint)];
            Source::parse(text, true, &|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
            .unwrap()
            .token
            .is_some()
        };
        assert!(has_token("hf:O/R/m.gguf", "https://huggingface.co"));
        assert!(has_token("hf:O/R/m.gguf", "http://127.0.0.1:1"));
        assert!(!has_token("hf:O/R/m.gguf", "http://mirror.example"));
        assert!(!has_token("ms:O/R/m.gguf", ""));
        assert!(!has_token("https://a.example/m.gguf", ""));
    }

    #[test]
    fn what_is_no_file_is_told_apart() {
        let told = |text| parse(text, &[]).unwrap_err();
        for text in [
            "https://huggingface.co/Org/Repo",
            "https://huggingface.co/Org/Repo/tree/main",
            "https://modelscope.cn/models/Org/Repo/files",
            "hf:Org/Repo",
        ] {
            assert_eq!(told(text), SourceError::Page(text.to_owned()));
        }
        for text in ["model.gguf", "ftp://a.example/m.gguf", "hf:Org", "hf:Org/Repo/../m.gguf"] {
            assert_eq!(told(text), SourceError::NoAddress(text.to_owned()));
        }
        assert_eq!(told("hf:O/R/m.safetensors"), SourceError::NotGguf("m.safetensors".to_owned()));
        let part = "m-00001-of-00003.gguf";
        let split = parse("hf:O/R/m-00001-of-00003.gguf", &[]).unwrap_err();
        assert_eq!(split, SourceError::Split(part.to_owned()));
        let plain = "http://a.example/m.gguf";
        assert_eq!(told(plain), SourceError::Plain(plain.to_owned()));
        assert!(Source::parse(plain, true, &|_| None).is_ok());
    }
}
