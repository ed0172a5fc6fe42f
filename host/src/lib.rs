//! Parlor: a small host that lets sandboxed guests hold conversations.
//!
//! The modules in reading order are the code map. Data flows one way, arrows point down:
//! `command → app → {turn, doors, connection, console, function} → {ingress adapter conversation pipeline model egress} → {plugin, store,
//! queue} → message`. The stages do not import each other: only `turn` and `app` know more than one.

// What people type, and `parlor plugin test`: a whole host for a plugin, and what every plugin must do.
pub mod command;
pub mod trial;

pub mod conformance;

// What looks after a host: what really breaks, and files that it needs.
pub mod doctor;
pub mod download;
pub mod weights;

// The wiring, the life of a turn, and what listens.
pub mod app;
pub mod turn;

pub mod doors;

// What is dialled rather than listened to.
pub mod connection;

pub mod console;

pub mod function;

// The stages of a turn, in its order.
pub mod ingress;

pub mod adapter;

pub mod conversation;
pub mod deployment;

pub mod pipeline;

pub mod model;

pub mod egress;

// Who may ask how much, for doors and turns.
pub mod limits;

// What they stand on: sandboxed guests, and what must outlive the process.
pub mod plugin;
pub mod store;

pub mod source;

pub mod queue;

// What nodes and operators are told of it.
pub mod bus;

pub mod message;

// Leaves: they know nobody.
pub mod auth;
pub mod clock;
pub mod config;
pub mod drain;
pub mod random;
mod scratch;
pub mod space;
pub mod telemetry;
