//! Log lines: one JSON object a line with ECS field names, or a line that a person reads.
//!
//! The fields of all open spans are flattened into each event, so that the request id and the channel follow
//! every stage. It does not know what is logged. Next: `fields` collects them, `line` writes them down, `recent` keeps
//! the last of them for whoever asks.

mod fields;
mod line;
pub mod recent;

use std::io::{IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::TelemetryError;
use crate::clock::{Clock, SystemClock};
use fields::Fields;
use line::Line;

pub use fields::FIELD_BYTES_MAX;
pub use recent::recent;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line, ECS field names.
    Json,
    /// For people: time, level, message, `key=value`.
    #[default]
    Plain,
}

/// Sets up the process's log on standard output, and a panic hook that keeps what was being worked on to
/// itself. The filter is such as `info` or `info,parlor=debug`.
pub fn init(format: Format, filter: &str) -> Result<(), TelemetryError> {
    let stdout = std::io::stdout();
    let has_colours =
        stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = Log::new(format, has_colours, stdout);
    let subscriber = tracing_subscriber::registry().with(log.with_filter(parse(filter)?));
    subscriber.try_init().map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The same lines, without colours, to any writer.
pub fn subscriber(
    format: Format,
    filter: &str,
    writer: impl Write + Send + 'static,
) -> Result<impl Subscriber + Send + Sync + for<'a> LookupSpan<'a>, TelemetryError> {
    let log = Log::new(format, false, writer);
    Ok(tracing_subscriber::registry().with(log.with_filter(parse(filter)?)))
}

/// Libraries that write what people say into their finest lines: whoever asks for all lines does not get those.
const TALKATIVE: [&str; 2] = ["tungstenite=warn", "tokio_tungstenite=warn"];

fn parse(filter: &str) -> Result<SpansStay, TelemetryError> {
    let quiet = TALKATIVE.map(|directive| directive.parse().expect("a target and a level make a directive"));
    let parsed = EnvFilter::builder().with_regex(false).parse(filter);
    let parsed = parsed.map(|filter| quiet.into_iter().fold(filter, EnvFilter::add_directive));
    parsed.map(SpansStay).map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })
}

/// A panic's place. Its text only if it was written in the source: a formatted one may quote a message.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(text withheld)");
    tracing::error!(error.r#type = "panic", error.message = text, log.origin = place, "a task panicked");
}

/// The filter for events; spans of level info and above stay open whatever it says, so that a line that does
/// come out still tells its request and channel.
struct SpansStay(EnvFilter);

fn is_stage(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for SpansStay {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_stage(metadata) || Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Filter::<S>::callsite_enabled(&self.0, metadata);
        if is_stage(metadata) { Interest::always() } else { interest }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0).map(|level| level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.0, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::on_close(&self.0, id, context);
    }
}

/// The layer that writes the lines.
struct Log {
    format: Format,
    has_colours: bool,
    writer: Arc<Mutex<dyn Write + Send>>,
}

impl Log {
    fn new(format: Format, has_colours: bool, writer: impl Write + Send + 'static) -> Self {
        Self { format, has_colours, writer: Arc::new(Mutex::new(writer)) }
    }

    /// A line that cannot be written is lost: there is no better place to say so.
    fn write(&self, line: &Line<'_>) {
        let text = match self.format {
            Format::Json => line.to_json(),
            Format::Plain => line.to_plain(self.has_colours),
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(text.as_bytes());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.extend(outer);
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = Line {
            time: SystemClock.now(),
            level: *metadata.level(),
            // Lines of the `log` facade carry their true origin as a field.
            logger: fields.take_text("log.target").unwrap_or_else(|| metadata.target().to_owned()),
            message: fields.take_text("message").unwrap_or_default(),
            fields: &fields,
        };
        recent().push(&line);
        self.write(&line);
    }
}
