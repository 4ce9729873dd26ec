//! What every part's driver has to pass over the modelled device: attach, traffic, wrap-around, link changes, overload, stopping at any
//! instant, detach, attach again. The root of each test says which part it is: `PART`.

mod adversary;
mod attach;
mod checksum;
mod conservation;
mod flow;
mod jumbo;
mod ledger;
mod loopback;
mod receive;
mod stop;
mod transmit;
mod vlan;

pub(crate) mod part_under_test {
    use e1000::Config;
    use nic_model::Machine;

    use crate::PART;

    /// A machine whose cards are the part under test.
    pub(crate) fn machine(frames: usize) -> Machine {
        Machine::of(PART, frames)
    }

    /// The configuration of port `number`.
    pub(crate) fn config(number: u8) -> Config {
        let variant = e1000::Variant::find(e1000::VENDOR_INTEL, PART).expect("the part is known");
        Config { variant, ..nic_model::config(number) }
    }
}
