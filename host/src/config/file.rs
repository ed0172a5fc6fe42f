//! `parlor.yaml`: every key that there is, and the way from the file to `Config`.
//!
//! It does no I/O: text, folder and environment are handed in. `section` turns the lists of keys below into
//! structs, their reading and the JSON Schema; `kinds` knows the values, `references` what keys say of each
//! other.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::kinds::{
    Address, Any, BusName, Count, FilePath, Frequency, ModelName, Name, Networks, OneOf, OneOrMore, Origin,
    PublicKeys, QueueUrl, Read, RedisUrls, Secret, SettingName, Sha256, SigningSecret, Size, Temperature,
    Text, Time, WebUrl,
};
use super::problem::{Place, Problem, Problems};
use super::reader::{Environment, Reader};
use super::section::{Stray, section, unknown};
use super::sources::SourceUrl;
use super::tree::{self, Node};
use super::{
    Admin, Assistant, Auth, Backend, Channel, ChannelLimits, Chat, Config, Function, Gguf, Limits, Login,
    Meanwhile, Model, OpenAi, OpenAiDoor, Plugins, Rate, Redis, ReplyVia, Source, Stale, WhenStale,
    Whereabouts, references,
};

/// Some ten thousand channels; a larger file is not a configuration.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A turn that takes longer has nobody left who waits; shorter than a network's round trip nothing ends.
type AskTime = Time<100, 3_600_000>;
/// A slow client may hold a connection this long, and no longer.
type ReadTime = Time<100, 600_000>;
/// A shutdown that lasts longer is killed by any supervisor.
type GraceTime = Time<0, 3_600_000>;
/// Platforms repeat a message for up to 24 h: what is forgotten sooner would be answered twice.
type Retention = Time<86_400_000, 31_536_000_000>;
/// From a weekend to ten years, as the longest duties to keep records ask for.
type AuditTime = Time<259_200_000, 315_360_000_000>;
/// Less holds no webhook, more no machine that this is for, since each is held in memory.
type BodySize = Size<1024, 67_108_864>;
/// More than this no descriptor table and no model serves.
type Concurrency = Count<1, 4096>;
type Connections = Count<1, 65_535>;
/// Who waits behind more than this waits longer than any request.
type Queue = Count<0, 4096>;
/// Less passes between two messages of one person; more than a week no platform brings again.
type StaleTime = Time<10_000, 604_800_000>;
/// As much as a rate can count.
type Burst = Count<1, 10_000>;
/// More exchanges than any small model's context holds.
type History = Count<0, 100>;
/// From one exchange to the longest context that models have.
type ContextTokens = Count<128, 1_048_576>;
type AnswerTokens = Count<1, 1_048_576>;
/// llama.cpp's own bound of sequences.
type BatchSize = Count<1, 256>;
type Threads = Count<1, 1024>;
/// A look costs a request; a release that nobody hears of for a week is none.
type LookTime = Time<1_000, 604_800_000>;
/// More copies than anybody keeps.
type Replicas = Count<0, 5>;

section! {
    /// Parlor's configuration. `${NAME}` in a value is the environment's; `$$` is a dollar sign.
    ConfigFile {
        /// Address and port of all doors but the operators' own.
        listen: Address = "127.0.0.1:18789";
        /// The operators' own door.
        admin: AdminFile = "{}";
        /// Addresses and networks that all doors but the operators' own are open to; an empty list is everybody.
        allow: Networks = "[]";
        /// Proxies in front of this host: theirs is the last word in `X-Forwarded-For`.
        trusted_proxies: Networks = "[]";
        /// How the outside reaches `listen`; platforms that sign the URL need it.
        public_url: WebUrl = optional;
        /// Folder of the database and the caches.
        data: FilePath = "./data";
        /// What several nodes share; without it all is in `data`, for one node.
        store: StoreFile = optional;
        /// The tokens of the host's own doors.
        auth: AuthFile = required;
        /// Where plugins come from.
        plugins: PluginsFile = "{}";
        /// The model of every channel that names none.
        default_model: ModelName = optional;
        /// Models by the names that channels call them.
        models: BTreeMap<ModelName, ModelFile> = "{}";
        /// Channels by name; `team` answers at `/webhook/team`.
        channels: BTreeMap<Name, ChannelFile> = "{}";
        /// The host's own door: the chat page and `POST /api/v1/chat`. Without it both are closed.
        chat: ChatFile = optional;
        /// The door for clients of OpenAI's API. Without it `POST /v1/chat/completions` and `GET /v1/models` are closed.
        openai: OpenAiDoorFile = optional;
        /// Origins that stand in for others: the only way to reach a private address.
        endpoints: BTreeMap<Origin, Origin> = "{}";
        /// What comes in and goes out, told to operators who listen. Without it nothing of what people say is handed out.
        bus: BusFile = optional;
        /// Bounds of the whole host.
        limits: LimitsFile = "{}";
        /// What holds where a function platform runs the host; elsewhere it has no effect.
        function: FunctionFile = "{}";
    }
}

section! {
    /// The operators' own door: the admin API, and figures without a token.
    AdminFile {
        /// Address and port; on this machine alone unless you say otherwise.
        listen: Address = "127.0.0.1:8080";
        /// Addresses and networks that it is open to; an empty list is everybody who reaches it.
        allow: Networks = "[]";
        /// Closes it.
        enabled: bool = "true";
        /// How long what operators did is kept.
        audit: AuditTime = "30d";
    }
}

section! {
    /// The message bus.
    BusFile {
        /// By which those who listen know it, and the channel of Redis where nodes share one.
        name: BusName = required;
    }
}

section! {
    /// A host that a function platform runs.
    FunctionFile {
        /// The URL of an SQS queue, FIFO: webhooks are put in and worked off by the same function.
        queue: QueueUrl = optional;
    }
}

section! {
    /// What several nodes share.
    StoreFile {
        /// URL of a Redis 7 or Valkey; a list is the nodes of a Cluster. `rediss://` is TLS.
        redis: RedisUrls = required;
        /// Begins the names of all keys, so that hosts that have nothing to do with each other may share a Redis.
        prefix: Name = "parlor";
        /// Replicas that must have a message before the platform is told that it is stored.
        wait_replicas: Replicas = "0";
    }
}

section! {
    /// The tokens of the host's own doors.
    AuthFile {
        /// Signs the tokens; 32 bytes or more, such as `openssl rand -hex 32` prints.
        jwt_secret: SigningSecret = required;
        /// Whom a token is for: a text or a list.
        audience: OneOrMore = "parlor";
        /// Who may issue tokens: a text or a list.
        issuer: OneOrMore = "parlor";
    }
}

section! {
    /// Where plugins come from.
    PluginsFile {
        /// Folder of the `.wasm` files.
        folder: FilePath = "./plugins";
        /// Public keys of authors, as minisign writes them: what one of them signed is loaded.
        trusted_keys: PublicKeys = "[]";
        /// Loads plugins too that no trusted key has signed. For development.
        allow_unsigned: bool = "false";
        /// Where releases come from beside the folder.
        sources: Vec<SourceFile> = "[]";
    }
}

section! {
    /// Where the releases of one plugin come from.
    SourceFile {
        /// `https://…/x.wasm`, or `oci://registry/repository@sha256:…` by the digest of its manifest.
        url: SourceUrl = required;
        /// How often it is looked at, and the longest pause before one that failed is tried again. What a digest names
        /// never changes: it is fetched once.
        every: LookTime = "5m";
        /// Goes out as the bearer token; for `https`.
        token: Secret = optional;
        /// Who logs in at the registry; for `oci`.
        user: Text = optional;
        /// The user's password, or an access token in its place; for `oci`.
        password: Secret = optional;
    }
}

section! {
    /// A weights file that runs in this process.
    GgufFile {
        /// The GGUF file.
        path: FilePath = required;
        /// What the file must be, so that a truncated one is not loaded.
        sha256: Sha256 = optional;
        /// Tokens of one conversation's context.
        context: ContextTokens = "2048";
        /// Conversations that are answered side by side.
        max_batch_size: BatchSize = "8";
        /// Threads of inference; without it as many as the machine has cores.
        threads: Threads = optional;
        /// Requests at a time; more wait.
        concurrent: Concurrency = optional;
        /// Longest answer in tokens.
        max_tokens: AnswerTokens = optional;
        /// How freely it chooses; 0 always gives the same answer.
        temperature: Temperature = optional;
        /// One deadline for the whole of a request.
        timeout: AskTime = "120s";
        /// Models that are asked instead, in this order, while it cannot answer.
        fallback: Vec<ModelName> = "[]";
    }
}

section! {
    /// Any endpoint that speaks OpenAI's chat completions.
    OpenAiFile {
        /// Such as `https://api.example.com/v1`.
        endpoint: WebUrl = required;
        /// Goes out as the bearer token.
        api_key: Secret = optional;
        /// The model's name at the endpoint.
        model: Text = required;
        /// Requests at a time; more wait.
        concurrent: Concurrency = optional;
        /// Longest answer in tokens.
        max_tokens: AnswerTokens = optional;
        /// How freely it chooses.
        temperature: Temperature = optional;
        /// One deadline for the whole of a request, retries included.
        timeout: AskTime = "120s";
        /// Models that are asked instead, in this order, while it cannot answer.
        fallback: Vec<ModelName> = "[]";
    }
}

section! {
    /// Says what it heard; to try the wiring without a model.
    EchoFile {
        /// One deadline for the whole of a request.
        timeout: AskTime = "120s";
    }
}

section! {
    /// One mouth of the bot: an adapter, its secrets and its pipelines.
    ChannelFile {
        /// The plugin that speaks the platform.
        adapter: Name = required;
        /// Plugins that make prompts and replies, front to back; without any, the model gets the text as it is.
        pipelines: Vec<Name> = "[]";
        /// A name out of `models`; without it `default_model`.
        model: ModelName = optional;
        /// Exchanges of the conversation that a pipeline is shown.
        history: History = "5";
        /// The adapter's by their names, a pipeline's as `pipeline.setting`.
        settings: BTreeMap<SettingName, Any> = "{}";
        /// The adapter's by their names, a pipeline's as `pipeline.secret`.
        secrets: BTreeMap<SettingName, Secret> = "{}";
        /// Addresses and networks that its webhook is open to; an empty list is everybody.
        allow: Networks = "[]";
        /// A message that comes while another one of its conversation is being answered: `queue` lets it wait,
        /// `merge` puts those of one person that wait together, `interrupt` stops the answer to the same person.
        while_answering: OneOf<Meanwhile> = "queue";
        /// What becomes of a message that comes to its turn too late, as after a night without a host; without it
        /// every message is answered.
        stale: StaleFile = optional;
        /// Replies go out through another channel; without it back where the messages came from.
        reply_via: ReplyViaFile = optional;
        /// Bounds of this channel.
        limits: ChannelLimitsFile = "{}";
    }
}

section! {
    /// A message that comes to its turn too late.
    StaleFile {
        /// Older than this when its turn comes.
        after: StaleTime = "10m";
        /// `notice` says one sentence in the person's language, `drop` nothing, `answer` answers all the same.
        then: OneOf<WhenStale> = "notice";
    }
}

section! {
    /// The way of replies through another channel.
    ReplyViaFile {
        /// A name out of `channels`, whose adapter says them.
        channel: Name = required;
        /// A conversation of that channel, by the name that the admin API tells, in which somebody wrote to the bot;
        /// without it the adapter's default destination, such as a group robot.
        conversation: Text = optional;
    }
}

section! {
    /// The host's own door to the same stages, without an adapter.
    ChatFile {
        /// Plugins that make prompts and replies, front to back; without any, the model gets the text as it is.
        pipelines: Vec<Name> = "[]";
        /// A name out of `models`; without it `default_model`.
        model: ModelName = optional;
        /// Exchanges of the conversation that a pipeline is shown.
        history: History = "5";
        /// As `pipeline.setting`.
        settings: BTreeMap<SettingName, Any> = "{}";
        /// As `pipeline.secret`.
        secrets: BTreeMap<SettingName, Secret> = "{}";
        /// Addresses and networks that the page and the door are open to; an empty list is everybody.
        allow: Networks = "[]";
        /// Bounds of this door.
        limits: ChatLimitsFile = "{}";
        /// The page at `/` needs no token; only where `listen` is a loopback address.
        open_page: bool = "false";
    }
}

section! {
    /// The door for clients of OpenAI's API: `POST /v1/chat/completions` and `GET /v1/models`.
    OpenAiDoorFile {
        /// Names out of `models` that callers may ask as they are; without it all.
        models: Vec<ModelName> = optional;
        /// Lines of pipelines under a model's name.
        assistants: BTreeMap<ModelName, AssistantFile> = "{}";
        /// Bounds of each model that is asked as it is.
        limits: ChannelLimitsFile = "{}";
    }
}

section! {
    /// A line of pipelines under a model's name.
    AssistantFile {
        /// Plugins that make prompts and replies, front to back.
        pipelines: Vec<Name> = required;
        /// A name out of `models`; without it `default_model`.
        model: ModelName = optional;
        /// As `pipeline.setting`.
        settings: BTreeMap<SettingName, Any> = "{}";
        /// As `pipeline.secret`.
        secrets: BTreeMap<SettingName, Secret> = "{}";
        /// Bounds of this assistant.
        limits: ChannelLimitsFile = "{}";
    }
}

section! {
    /// Bounds of one channel.
    ChannelLimitsFile {
        /// Webhooks, from one address before their signature is checked and from all after it; more get 429.
        /// Without it as many as come.
        rate: Frequency = optional;
        /// Webhooks at once after a pause; without it those of one span of `rate`.
        burst: Burst = optional;
        /// Messages of one person; more are not answered, and the person is told so. Without it as many as come.
        person_rate: Frequency = optional;
        /// Messages of one person at once; without it those of one span of `person_rate`.
        person_burst: Burst = optional;
        /// Turns at a time.
        concurrent: Concurrency = "10";
        /// One turn, from its claim to its answer.
        time: AskTime = "120s";
    }
}

section! {
    /// Bounds of the host's own door.
    ChatLimitsFile {
        /// Questions; more get 429. Without it as many as come.
        rate: Frequency = optional;
        /// Questions at once after a pause; without it those of one span of `rate`.
        burst: Burst = optional;
        /// Questions of one person; more get 429. Without it as many as come.
        person_rate: Frequency = optional;
        /// Questions of one person at once; without it those of one span of `person_rate`.
        person_burst: Burst = optional;
        /// Turns at a time.
        concurrent: Concurrency = "10";
        /// Questions that wait for their turn; more get 503.
        queue: Queue = "64";
        /// One request, from its question to the end of its answer.
        time: AskTime = "120s";
    }
}

section! {
    /// Bounds of the whole host.
    LimitsFile {
        /// Largest body of a request.
        body: BodySize = "1MiB";
        /// For a request's head to arrive.
        header_timeout: ReadTime = "10s";
        /// For a request's body to arrive.
        body_timeout: ReadTime = "30s";
        /// Open connections.
        connections: Connections = "1024";
        /// Questions by one token, over all of the host's own doors; more get 429. Without it as many as come.
        key_rate: Frequency = optional;
        /// Questions by one token at once; without it those of one span of `key_rate`.
        key_burst: Burst = optional;
        /// The whole shutdown; turns that run on after it go on at the next start.
        grace_period: GraceTime = "10s";
        /// Turns at a time, over all channels.
        turns: Concurrency = "64";
        /// How long finished messages are kept; 24 h or more, since platforms repeat that long.
        retention: Retention = "24h";
    }
}

/// A model; `backend` says which keys it has.
pub(super) enum ModelFile {
    Gguf(GgufFile),
    OpenAi(OpenAiFile),
    Echo(EchoFile),
}

/// Every backend with its keys.
const BACKENDS: [(&str, &[&str]); 3] =
    [("gguf", GgufFile::KEYS), ("openai", OpenAiFile::KEYS), ("echo", EchoFile::KEYS)];
const BACKEND: &str = "backend";

impl Read for ModelFile {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let backend = read_backend(node, reader)?;
        let stray = |key: &str| stray_model_key(&backend, key);
        match backend.as_str() {
            "gguf" => GgufFile::read_with(node, reader, &stray).map(ModelFile::Gguf),
            "openai" => OpenAiFile::read_with(node, reader, &stray).map(ModelFile::OpenAi),
            _ => EchoFile::read_with(node, reader, &stray).map(ModelFile::Echo),
        }
    }

    fn schema() -> Value {
        let variants = [GgufFile::schema(), OpenAiFile::schema(), EchoFile::schema()];
        let variants = BACKENDS.iter().zip(variants).map(|((name, _), mut schema)| {
            let required = schema["required"].as_array_mut().expect("a section's schema lists what it needs");
            required.insert(0, json!(BACKEND));
            schema["properties"][BACKEND] = json!({"const": name});
            schema
        });
        json!({"oneOf": variants.collect::<Vec<_>>()})
    }
}

/// The name of a backend that there is.
fn read_backend(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let known = || BACKENDS.iter().map(|(name, _)| *name);
    let names: Vec<_> = known().map(|name| format!("`{name}`")).collect();
    if !matches!(node.what, tree::What::Table(_)) {
        reader.mismatch(node, "a table", "");
        return None;
    }
    let Some(value) = node.get(BACKEND) else {
        let message = format!("missing; it is one of {}", names.join(", "));
        reader.within(BACKEND, |reader| reader.problem(node.place, message));
        return None;
    };
    reader.within(BACKEND, |reader| {
        let scalar = reader.text(value, "a backend's name", "")?;
        if known().any(|name| name == scalar.text) {
            return Some(scalar.text);
        }
        let message = match scalar.variables.first() {
            Some(variable) => format!("`{variable}` holds no backend's name; known: {}", names.join(", ")),
            None => unknown("backend", &scalar.text, known()),
        };
        reader.problem(value.place, message);
        None
    })
}

/// A key of another backend is better said than "unknown".
fn stray_model_key(backend: &str, key: &str) -> Stray {
    if key == BACKEND {
        return Stray::Fine;
    }
    match BACKENDS.iter().find(|(_, keys)| keys.contains(&key)) {
        Some((other, _)) => {
            Stray::Elsewhere(format!("`{key}` is a key of backend `{other}`; this is backend `{backend}`"))
        }
        None => Stray::Unknown,
    }
}

impl Config {
    /// Reads a configuration. Relative paths are relative to `folder`, the file's own; `environment` answers
    /// for the variables.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str, folder: &Path, environment: Environment<'_>) -> Result<Config, Problems> {
        if text.len() > FILE_BYTES_MAX {
            let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX}", text.len());
            return Err(Problems::new(vec![Problem::new(Place::START, "", message)]));
        }
        let mut reader = Reader::new(folder, environment);
        let file = tree::parse(text, &mut reader.problems).and_then(|root| {
            references::check(&root, &mut reader);
            ConfigFile::read(&root, &mut reader)
        });
        match file {
            Some(file) if reader.problems.is_empty() => Ok(file.into_config(folder)),
            _ => Err(Problems::new(reader.problems)),
        }
    }

    /// The text of a file's bytes.
    ///
    /// # Errors
    /// The place of what is not UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<&str, Problems> {
        std::str::from_utf8(bytes).map_err(|error| {
            let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = sound.matches('\n').count() + 1;
            let column = sound.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            let message = "this is not UTF-8; save the file as UTF-8";
            Problems::new(vec![Problem::new(Place { line, column }, "", message)])
        })
    }
}

/// JSON Schema of `parlor.yaml`, for editors.
pub fn schema() -> Value {
    let mut schema = ConfigFile::schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("parlor.yaml");
    schema
}

impl ConfigFile {
    fn into_config(self, folder: &Path) -> Config {
        let file = self;
        let models: BTreeMap<String, Model> =
            file.models.into_iter().map(|(name, model)| (name.0, model.into())).collect();
        let openai = file.openai.map(|door| door.with(&models));
        let audit_retention = file.admin.audit.0;
        Config {
            folder: folder.to_owned(),
            listen: file.listen.0,
            admin: file.admin.into(),
            audit_retention,
            allow: file.allow.0,
            trusted_proxies: file.trusted_proxies.0,
            public_url: file.public_url.map(|url| url.0),
            data: file.data.0,
            redis: file.store.map(Redis::from),
            auth: file.auth.into(),
            plugins: file.plugins.into(),
            models,
            default_model: file.default_model.map(|name| name.0),
            channels: file.channels.into_iter().map(|(name, channel)| (name.0, channel.into())).collect(),
            chat: file.chat.map(Chat::from),
            openai,
            endpoints: file.endpoints.into_iter().map(|(from, to)| (from.0, to.url())).collect(),
            bus: file.bus.map(|bus| bus.name.0),
            limits: file.limits.into(),
            function: Function { queue: file.function.queue.map(|url| url.0) },
        }
    }
}

impl From<StoreFile> for Redis {
    fn from(file: StoreFile) -> Self {
        Redis { urls: file.redis.0, prefix: file.prefix.0, wait_replicas: file.wait_replicas.0 }
    }
}

impl From<AdminFile> for Option<Admin> {
    fn from(file: AdminFile) -> Self {
        file.enabled.then_some(Admin { listen: file.listen.0, allow: file.allow.0 })
    }
}

impl From<AuthFile> for Auth {
    fn from(file: AuthFile) -> Self {
        Auth { jwt_secret: file.jwt_secret.0, audience: file.audience.0, issuers: file.issuer.0 }
    }
}

impl From<PluginsFile> for Plugins {
    fn from(file: PluginsFile) -> Self {
        Plugins {
            folder: file.folder.0,
            trusted_keys: file.trusted_keys.0,
            allow_unsigned: file.allow_unsigned,
            sources: file.sources.into_iter().map(Source::from).collect(),
        }
    }
}

impl From<SourceFile> for Source {
    fn from(file: SourceFile) -> Self {
        let login = file.user.zip(file.password);
        let at = match file.url {
            SourceUrl::Web(url) => Whereabouts::Web { url, token: file.token.map(|token| token.0) },
            SourceUrl::Registry(artifact) => Whereabouts::Registry {
                artifact,
                login: login.map(|(user, password)| Login { user: user.0, password: password.0 }),
            },
        };
        Source { at, every: file.every.0 }
    }
}

impl From<ModelFile> for Model {
    fn from(file: ModelFile) -> Self {
        match file {
            ModelFile::Gguf(file) => file.into(),
            ModelFile::OpenAi(file) => file.into(),
            ModelFile::Echo(file) => Model {
                backend: Backend::Echo,
                concurrent: None,
                max_tokens: None,
                temperature: None,
                timeout: file.timeout.0,
                fallback: Vec::new(),
            },
        }
    }
}

impl From<GgufFile> for Model {
    fn from(file: GgufFile) -> Self {
        Model {
            backend: Backend::Gguf(Gguf {
                path: file.path.0,
                sha256: file.sha256.map(|digest| digest.0),
                context: file.context.0,
                max_batch_size: file.max_batch_size.0,
                threads: file.threads.map(|count| count.0),
            }),
            concurrent: file.concurrent.map(|count| count.size()),
            max_tokens: file.max_tokens.map(|count| count.0),
            temperature: file.temperature.map(|value| value.0),
            timeout: file.timeout.0,
            fallback: file.fallback.into_iter().map(|name| name.0).collect(),
        }
    }
}

impl From<OpenAiFile> for Model {
    fn from(file: OpenAiFile) -> Self {
        Model {
            backend: Backend::OpenAi(OpenAi {
                endpoint: file.endpoint.0,
                api_key: file.api_key.map(|key| key.0),
                model: file.model.0,
            }),
            concurrent: file.concurrent.map(|count| count.size()),
            max_tokens: file.max_tokens.map(|count| count.0),
            temperature: file.temperature.map(|value| value.0),
            timeout: file.timeout.0,
            fallback: file.fallback.into_iter().map(|name| name.0).collect(),
        }
    }
}

impl From<ChannelFile> for Channel {
    fn from(file: ChannelFile) -> Self {
        Channel {
            adapter: file.adapter.0,
            pipelines: file.pipelines.into_iter().map(|name| name.0).collect(),
            model: file.model.map(|name| name.0),
            history: file.history.0,
            settings: file.settings.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
            secrets: file.secrets.into_iter().map(|(name, secret)| (name.0, secret.0)).collect(),
            allow: file.allow.0,
            limits: file.limits.into(),
            meanwhile: file.while_answering.0,
            stale: file.stale.map(|stale| Stale { after: stale.after.0, then: stale.then.0 }),
            reply_via: file.reply_via.map(|via| ReplyVia {
                channel: via.channel.0,
                conversation: via.conversation.map(|name| name.0),
            }),
        }
    }
}

impl From<ChatFile> for Chat {
    fn from(file: ChatFile) -> Self {
        Chat {
            pipelines: file.pipelines.into_iter().map(|name| name.0).collect(),
            model: file.model.map(|name| name.0),
            history: file.history.0,
            settings: file.settings.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
            secrets: file.secrets.into_iter().map(|(name, secret)| (name.0, secret.0)).collect(),
            allow: file.allow.0,
            queue: file.limits.queue.size(),
            limits: file.limits.into(),
            open_page: file.open_page,
        }
    }
}

impl OpenAiDoorFile {
    /// `models`: all that there are.
    fn with(self, models: &BTreeMap<String, Model>) -> OpenAiDoor {
        let named = self.models.map(|names| names.into_iter().map(|name| name.0).collect());
        let assistants = self.assistants.into_iter();
        OpenAiDoor {
            models: named.unwrap_or_else(|| models.keys().cloned().collect()),
            assistants: assistants.map(|(name, assistant)| (name.0, assistant.into())).collect(),
            limits: self.limits.into(),
        }
    }
}

impl From<AssistantFile> for Assistant {
    fn from(file: AssistantFile) -> Self {
        Assistant {
            pipelines: file.pipelines.into_iter().map(|name| name.0).collect(),
            model: file.model.map(|name| name.0),
            settings: file.settings.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
            secrets: file.secrets.into_iter().map(|(name, secret)| (name.0, secret.0)).collect(),
            limits: file.limits.into(),
        }
    }
}

impl From<ChannelLimitsFile> for ChannelLimits {
    fn from(file: ChannelLimitsFile) -> Self {
        ChannelLimits {
            rate: rate(file.rate.as_ref(), file.burst),
            person: rate(file.person_rate.as_ref(), file.person_burst),
            concurrent: file.concurrent.size(),
            time: file.time.0,
        }
    }
}

impl From<ChatLimitsFile> for ChannelLimits {
    fn from(file: ChatLimitsFile) -> Self {
        ChannelLimits {
            rate: rate(file.rate.as_ref(), file.burst),
            person: rate(file.person_rate.as_ref(), file.person_burst),
            concurrent: file.concurrent.size(),
            time: file.time.0,
        }
    }
}

fn rate(frequency: Option<&Frequency>, burst: Option<Burst>) -> Option<Rate> {
    frequency.map(|frequency| frequency.with_burst(burst.map(|burst| burst.0)))
}

impl From<LimitsFile> for Limits {
    fn from(file: LimitsFile) -> Self {
        Limits {
            body_bytes_max: file.body.size(),
            header_timeout: file.header_timeout.0,
            body_timeout: file.body_timeout.0,
            connections_max: file.connections.size(),
            key: rate(file.key_rate.as_ref(), file.key_burst),
            grace_period: file.grace_period.0,
            turns_max: file.turns.size(),
            retention: file.retention.0,
        }
    }
}
