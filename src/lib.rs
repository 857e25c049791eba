//! The daemon of the federation router: command line, configuration, start-up and shutdown, admin interface, demo.

pub mod admin;
pub mod config;
pub mod logging;
pub mod status;
pub mod zone;
