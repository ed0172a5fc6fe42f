//! Red on a terminal, plain elsewhere: files, pipes, and terminals whose user set `NO_COLOR`.

use std::io::IsTerminal;

use crate::config::Plugins;

pub fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

pub fn red(text: &str, has_colours: bool) -> String {
    if has_colours { format!("\x1b[31m{text}\x1b[0m") } else { text.to_owned() }
}

/// On stderr, since what stdout says may be read by a program.
pub fn caution(plugins: &Plugins) {
    if plugins.allow_unsigned {
        let text = "plugins serve here that no trusted key has signed (`plugins.allow_unsigned: true`): for development alone";
        eprintln!("{}", red(text, has_colours(&std::io::stderr())));
    }
}
