//! Texts of the serial console that programs wait for. Any context.

/// What the console writes when it is ready for a command.
pub const PROMPT: &str = "sluice> ";

/// What a boot stage's line begins with; the stage's number and a closing bracket follow.
pub const STAGE: &str = "[boot ";

/// What the first line of a panic report begins with.
pub const PANIC: &str = "panic: ";

/// What the kernel says, once, when it forwards: every configured interface has its thread and its tables.
pub const READY: &str = "router: ready";

/// What the kernel says instead when its configuration is missing or bad; the reason follows on the same line.
pub const NOT_FORWARDING: &str = "router: not forwarding: ";

/// What the last line before the power goes begins with; the uptime follows.
pub const POWERING_OFF: &str = "shutdown: powering off";

/// What the last line before a reset begins with; the uptime follows.
pub const RESETTING: &str = "shutdown: resetting";
