//! Texts of the serial console that programs wait for. Any context.

/// What the console writes after the router's name when it is ready for a command.
pub const PROMPT_END: &str = "> ";

/// What the first line of a panic report begins with.
pub const PANIC: &str = "panic: ";

/// What the line of the last boot stage ends with: everything runs by itself from here on.
pub const RUNNING: &str = "] running";

/// What a complaint about a missing or bad configuration ends with; the reason stands before it.
pub const NOT_FORWARDING: &str = "; not forwarding";

/// The last line before the power goes.
pub const POWERING_OFF: &str = "Powering off...";

/// The last line before a reset.
pub const REBOOTING: &str = "Rebooting...";
