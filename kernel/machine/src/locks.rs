//! The floor's own locks by name, for `show locks`.

use crate::{console, frame, heap, irq, paging, pci_config, stack, thread};

/// Calls `visit` with the name of each lock and whether somebody holds it.
///
/// # Context
/// Any, also the debugger in a stopped world: never waits.
pub fn visit(visit: &mut dyn FnMut(&'static str, bool)) {
    for locks in [
        heap::locks,
        frame::locks,
        paging::locks,
        stack::locks,
        thread::locks,
        irq::locks,
        pci_config::locks,
        console::locks,
    ] {
        locks(visit);
    }
}
