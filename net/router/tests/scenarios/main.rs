//! The whole data path end to end, with interfaces that remember what was transmitted.

mod any_frame;
mod changes;
mod control;
mod forwarding;
mod jumbo;
mod known_hosts;
mod local;
mod neighbours;
mod policies;
mod profile;
mod shutdown;
mod support;
mod vlan;
