//! What heteronym promises, seen from outside: one binary for all of it.

#![allow(clippy::unwrap_used, reason = "what a check needs and does not get fails it")]

mod admin;
mod cli;
mod demo;
