//! What heteronym promises, seen from outside: one binary for all of it.

#![allow(clippy::unwrap_used, reason = "what a check needs and does not get fails it")]

mod admin;
mod asking;
mod attacks;
mod certificates;
mod check;
mod classic;
mod cli;
mod configuration;
mod daemon;
mod demo;
mod dns;
mod drain;
mod federation;
mod floods;
mod hostile;
mod jabberd2;
mod links;
mod local_links;
mod loopback;
mod operation;
#[cfg(feature = "broken")]
mod panics;
mod refusals;
mod restart;
mod rules;
mod servers_run;
mod stanzas;
mod steering;
mod support;
mod tidy;
