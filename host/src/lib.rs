//! Parlor: a small host that lets sandboxed guests hold conversations.
//!
//! The modules in reading order are the code map. Data flows one way, arrows point down:
//! `app → {turn, doors} → {ingress adapter conversation pipeline model egress} → {plugin, store} → message`.
//! The stages do not import each other; `config`, `auth`, `clock`, `drain` and `telemetry` are leaves.

pub mod adapter;
pub mod app;
pub mod auth;
pub mod clock;
pub mod command;
pub mod config;
pub mod conversation;
pub mod doors;
pub mod drain;
pub mod egress;
pub mod ingress;
pub mod message;
pub mod model;
pub mod pipeline;
pub mod plugin;
pub mod store;
pub mod telemetry;
pub mod trial;
pub mod turn;
