//! Interrupt descriptors in resource templates: what `_CRS` and `_PRS` say, and the template `_SRS` wants.
//!
//! The interpreter crate's own decoder stops the machine on descriptors it does not know, so link devices are read here. Pure.
//! Source: ACPI 6.5, 6.4.2.1 (IRQ descriptor) and 6.4.3.6 (extended interrupt descriptor).

use alloc::{vec, vec::Vec};

use super::bytes::{byte, half, word};
use crate::ioapic::{Polarity, Signal, Trigger};

/// The first interrupt descriptor of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptResource {
    /// The interrupts it names: one in `_CRS`, the choices in `_PRS`; empty: none assigned.
    pub interrupts: Vec<u32>,
    /// How they signal.
    pub signal: Signal,
    extended: bool,
}

const END_TAG: u8 = 0x0F;
const SMALL_IRQ: u8 = 0x04;
const LARGE_INTERRUPT: u8 = 0x89;

/// Finds the first interrupt descriptor; `None` if there is none or the template is damaged.
#[must_use]
pub fn first_interrupt(mut template: &[u8]) -> Option<InterruptResource> {
    loop {
        let tag = byte(template, 0)?;
        let (body, length) =
            if tag & 0x80 != 0 { (3, 3 + usize::from(half(template, 1)?)) } else { (1, 1 + usize::from(tag & 0x07)) };
        let (descriptor, rest) = template.split_at_checked(length)?;
        match tag {
            LARGE_INTERRUPT => return extended(descriptor.get(body..)?),
            _ if tag & 0x80 == 0 && tag >> 3 == SMALL_IRQ => return small(descriptor.get(body..)?),
            _ if tag & 0x80 == 0 && tag >> 3 == END_TAG => return None,
            _ => template = rest,
        }
    }
}

fn small(body: &[u8]) -> Option<InterruptResource> {
    let mask = half(body, 0)?;
    let interrupts = (0..16).filter(|irq| mask & (1 << irq) != 0).collect();
    // Without the flags byte: edge and high, like the ISA bus.
    let flags = byte(body, 2).unwrap_or(0x01);
    let trigger = if flags & 0x01 != 0 { Trigger::Edge } else { Trigger::Level };
    let polarity = if flags & 0x08 != 0 { Polarity::Low } else { Polarity::High };
    Some(InterruptResource { interrupts, signal: Signal { trigger, polarity }, extended: false })
}

fn extended(body: &[u8]) -> Option<InterruptResource> {
    let flags = byte(body, 0)?;
    let count = usize::from(byte(body, 1)?);
    let interrupts = (0..count).map(|index| word(body, 2 + 4 * index)).collect::<Option<Vec<u32>>>()?;
    let trigger = if flags & 0x02 != 0 { Trigger::Edge } else { Trigger::Level };
    let polarity = if flags & 0x04 != 0 { Polarity::Low } else { Polarity::High };
    Some(InterruptResource { interrupts, signal: Signal { trigger, polarity }, extended: true })
}

impl InterruptResource {
    /// The template that assigns `interrupt`, in the descriptor form the device itself uses; `None` if that form cannot say it.
    #[must_use]
    pub fn assign(&self, interrupt: u32) -> Option<Vec<u8>> {
        let level = self.signal.trigger == Trigger::Level;
        let low = self.signal.polarity == Polarity::Low;
        let mut template = if self.extended {
            let flags = 0x01 | (u8::from(!level) << 1) | (u8::from(low) << 2) | 0x08;
            let mut descriptor = vec![LARGE_INTERRUPT, 6, 0, flags, 1];
            descriptor.extend(interrupt.to_le_bytes());
            descriptor
        } else {
            let mask = 1u16.checked_shl(interrupt).filter(|_| interrupt < 16)?;
            let flags = u8::from(!level) | (u8::from(low) << 3) | 0x10;
            let [first, second] = mask.to_le_bytes();
            vec![0x23, first, second, flags]
        };
        template.extend([0x79, 0]);
        Some(template)
    }
}

#[cfg(test)]
mod tests {
    use super::{Polarity, Signal, Trigger, first_interrupt};

    const LEVEL_HIGH: Signal = Signal { trigger: Trigger::Level, polarity: Polarity::High };

    #[test]
    fn the_extended_descriptor_of_a_link_is_read() {
        let template = [0x89, 6, 0, 0x09, 1, 10, 0, 0, 0, 0x79, 0];
        let found = first_interrupt(&template).unwrap();
        assert_eq!((found.interrupts.as_slice(), found.signal), ([10].as_slice(), LEVEL_HIGH));
    }

    #[test]
    fn the_small_descriptor_is_a_mask_of_choices() {
        let found = first_interrupt(&[0x23, 0x20, 0x0C, 0x18, 0x79, 0]).unwrap();
        assert_eq!(found.interrupts, [5, 10, 11]);
        assert_eq!(found.signal, Signal::PCI);
        assert_eq!(first_interrupt(&[0x22, 0x10, 0, 0x79, 0]).unwrap().signal, Signal::ISA);
    }

    #[test]
    fn other_descriptors_are_stepped_over() {
        let io_port_then_irq =
            [0x47, 1, 0, 0, 0, 0, 1, 8, 0x86, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x22, 0x10, 0, 0x79, 0];
        assert_eq!(first_interrupt(&io_port_then_irq).unwrap().interrupts, [4]);
    }

    #[test]
    fn assign_is_read_back_as_assigned() {
        for template in [&[0x89, 6, 0, 0x0D, 1, 0, 0, 0, 0, 0x79, 0][..], &[0x23, 0x20, 0x0C, 0x18, 0x79, 0][..]] {
            let choices = first_interrupt(template).unwrap();
            let assigned = first_interrupt(&choices.assign(11).unwrap()).unwrap();
            assert_eq!((assigned.interrupts.as_slice(), assigned.signal), ([11].as_slice(), choices.signal));
        }
        assert_eq!(first_interrupt(&[0x22, 0, 0, 0x79, 0]).unwrap().assign(16), None);
    }

    #[test]
    fn damage_is_none_not_a_panic() {
        let whole = [0x47, 1, 0, 0, 0, 0, 1, 8, 0x89, 6, 0, 0x09, 1, 10, 0, 0, 0];
        for length in 0..whole.len() {
            assert_eq!(first_interrupt(&whole[..length]), None);
        }
        assert_eq!(first_interrupt(&[0x89, 6, 0, 0x09, 200, 10, 0, 0, 0, 0x79, 0]), None);
        assert_eq!(first_interrupt(&[0x79, 0, 0x22, 0x10, 0]), None);
    }
}
