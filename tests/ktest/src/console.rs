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

/// The last line before the CPUs stop and the machine stays on.
pub const HALTED: &str = "The operating system has halted.";

/// What each line about a shutdown begins with.
pub const SHUTDOWN: &str = "shutdown: ";

/// The stages of a shutdown, in order; each ends with a line of its name, three dots and how it went.
pub const SHUTDOWN_STAGES: [&str; 11] = [
    "claim",
    "announce",
    "close ingress",
    "drain",
    "mask interrupts",
    "join threads",
    "stop DMA",
    "tear down DMA",
    "bus mastering off",
    "park CPUs",
    "exit",
];

/// The stage at whose end every thread has ended and every transmit ring has run empty: the last frame has left.
pub const JOINED: &str = "join threads";

/// The stage whose line says that no card does DMA any more: from then on nothing leaves, whatever failed before.
pub const DMA_STOPPED: &str = "stop DMA";
