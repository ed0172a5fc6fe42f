//! `POST /webhook/{channel}[/…]`: where platforms knock.
//!
//! The body is read within its bounds, handed to the turn's intake, and what comes back is sent. A 2xx from
//! here means stored.
