//! The debugger at work on a machine made up: every command, every way to be wrong, and any line at all.

mod addresses;
mod commands;
mod fake;
mod listing;
mod prompt;
