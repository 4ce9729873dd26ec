//! Interrupt lines: routing a global system interrupt to a processor, vectors for messages, and dispatch.
//!
//! - [`init`] silences the 8259s and the 8254, and takes the I/O APICs; [`route_gsi`] gives an [`IrqLine`]; [`allocate_vector`] serves MSI.
//! - [`set_handler`] registers what a vector runs; [`dispatch`] is the trap code's one way in.
//! - [`mask`], [`unmask`], [`end_of_interrupt`] take the IRQ number and are what `ithread::LineControl` is glued to.
//!
//! An IRQ number is the global system interrupt for lines; those of messages follow behind the last line there is, from 64 at least.
//! Several devices on a line share one [`IrqLine`]: routing it again returns the same.

mod pic;
mod pit;
pub mod table;
pub mod vectors;

use alloc::vec::Vec;

use ksync::{Once, SpinLock, cpu::CpuId};

pub use table::Handler;
use table::HandlerTable;
use vectors::VectorSet;

use crate::{
    acpi::Madt,
    apic,
    ioapic::{IoApic, IoApicError, IoApicSet, Registers, Signal},
    map,
    mmio::MmioWindow,
    percpu::{self, CpuBlock},
    ports::CpuPorts,
};

/// The lowest IRQ number a message can have.
const FIRST_MESSAGE: u32 = 64;

/// A routed interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IrqLine {
    /// The number for [`mask`], [`unmask`] and names: a GSI, or a number behind all of these.
    pub irq: u32,
    /// The vector it arrives on.
    pub vector: u8,
    /// The processor it arrives at.
    pub cpu: CpuId,
    /// How the line signals; edge for messages.
    pub signal: Signal,
}

/// A line could not be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqError {
    /// The I/O APIC refused.
    IoApic(IoApicError),
    /// Every device vector is taken.
    NoVector,
    /// The processor is not running.
    Offline {
        /// The processor asked for.
        cpu: CpuId,
    },
    /// The line is already routed with another signal.
    SignalConflict {
        /// The line.
        irq: u32,
    },
    /// The vector already has a handler.
    Taken {
        /// The vector.
        vector: u8,
    },
    /// Interrupts have not been initialised.
    NotReady,
}

impl From<IoApicError> for IrqError {
    fn from(error: IoApicError) -> Self {
        Self::IoApic(error)
    }
}

/// An I/O APIC's window.
struct Window(MmioWindow);

impl Registers for Window {
    fn read32(&self, offset: usize) -> u32 {
        self.0.read32(offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        self.0.write32(offset, value);
    }
}

static IO_APICS: Once<IoApicSet<Window>> = Once::new();
static HANDLERS: HandlerTable = HandlerTable::new();
static ROUTES: SpinLock<Routes> = SpinLock::new(Routes { vectors: VectorSet::new(), lines: Vec::new() });
/// IRQ numbers from here on are messages, which have no line to mask.
static MESSAGES: Once<u32> = Once::new();

struct Routes {
    vectors: VectorSet,
    lines: Vec<IrqLine>,
}

/// Silences the 8259s and the 8254, maps the I/O APICs and masks every pin. Thread context at boot, once, before interrupts are enabled.
/// Chips that do not answer are named and left out; returns how many serve.
pub fn init(madt: &Madt) -> usize {
    pic::silence(&CpuPorts);
    pit::silence(&CpuPorts);
    let chips = madt.io_apics.iter().filter_map(|info| {
        let window = map::registers(u64::from(info.address), 0x20)?;
        match IoApic::new(Window(window), info.gsi_base) {
            Ok(chip) => Some(chip),
            Err(error) => {
                log::warn!("irq: I/O APIC at {:#x} left out: {error:?}", info.address);
                None
            }
        }
    });
    let set = IO_APICS.call_once(|| IoApicSet::new(chips));
    MESSAGES.call_once(|| first_message(set.spans().map(|span| span.gsi_base.saturating_add(span.pins))));
    set.spans().count()
}

/// Returns the first number that is no line's, given where the spans of lines end.
fn first_message(ends: impl Iterator<Item = u32>) -> u32 {
    ends.max().unwrap_or(0).max(FIRST_MESSAGE)
}

fn is_message(irq: u32) -> bool {
    MESSAGES.get().is_some_and(|first| irq >= *first)
}

fn io_apics() -> Result<&'static IoApicSet<Window>, IrqError> {
    IO_APICS.get().ok_or(IrqError::NotReady)
}

fn apic_id_of(cpu: CpuId) -> Result<u32, IrqError> {
    let block = percpu::block(cpu);
    let online = block.online.load(core::sync::atomic::Ordering::Acquire);
    if online { Ok(block.apic_id()) } else { Err(IrqError::Offline { cpu }) }
}

/// Routes a line to a processor, masked. A line that is routed already is returned as it is (its first processor stays), so that
/// devices may share it. Thread context.
pub fn route_gsi(gsi: u32, signal: Signal, cpu: CpuId) -> Result<IrqLine, IrqError> {
    let apic_id = apic_id_of(cpu)?;
    let chips = io_apics()?;
    let mut routes = ROUTES.lock();
    if let Some(line) = routes.lines.iter().find(|line| line.irq == gsi) {
        return if line.signal == signal { Ok(*line) } else { Err(IrqError::SignalConflict { irq: gsi }) };
    }
    let vector = routes.vectors.take().ok_or(IrqError::NoVector)?;
    if let Err(error) = chips.route(gsi, vector, apic_id, signal) {
        routes.vectors.give(vector);
        return Err(error.into());
    }
    let line = IrqLine { irq: gsi, vector, cpu, signal };
    routes.lines.push(line);
    Ok(line)
}

/// A vector for a message-signalled interrupt at a processor. Thread context.
pub fn allocate_vector(cpu: CpuId) -> Result<IrqLine, IrqError> {
    apic_id_of(cpu)?;
    let first = *MESSAGES.get().ok_or(IrqError::NotReady)?;
    let mut routes = ROUTES.lock();
    let vector = routes.vectors.take().ok_or(IrqError::NoVector)?;
    let is_free = |irq: &u32| routes.lines.iter().all(|line| line.irq != *irq);
    // There are fewer lines than numbers.
    let irq = (first..).find(is_free).unwrap_or(first);
    let line = IrqLine { irq, vector, cpu, signal: Signal::ISA };
    routes.lines.push(line);
    Ok(line)
}

/// Address and data a device writes to raise `line` (SDM volume 3, 11.11); `None` for an APIC id beyond eight bits, which needs
/// interrupt remapping.
#[must_use]
pub fn message(line: &IrqLine) -> Option<(u64, u32)> {
    message_for(apic_id_of(line.cpu).ok()?, line.vector)
}

fn message_for(apic_id: u32, vector: u8) -> Option<(u64, u32)> {
    (apic_id < 0xFF).then(|| (0xFEE0_0000 | u64::from(apic_id) << 12, u32::from(vector)))
}

/// Registers what the line's vector runs. Thread context, line masked.
pub fn set_handler(line: &IrqLine, handler: Handler, argument: usize) -> Result<(), IrqError> {
    let set = HANDLERS.set(line.vector, handler, argument);
    if set { Ok(()) } else { Err(IrqError::Taken { vector: line.vector }) }
}

/// Registers a system vector (timer, interprocessor). Thread context at boot.
pub(crate) fn set_system_handler(vector: u8, handler: Handler) {
    if !HANDLERS.set(vector, handler, 0) {
        log::warn!("irq: vector {vector:#x} already has a handler");
    }
}

/// Masks a line, removes its handler and frees its vector. The caller has quiesced the handler. Thread context.
pub fn release(line: IrqLine) {
    mask(line.irq);
    HANDLERS.remove(line.vector);
    let mut routes = ROUTES.lock();
    routes.lines.retain(|known| known.vector != line.vector);
    routes.vectors.give(line.vector);
}

/// Stops a line; read back before return. A message has no line: its device masks. Thread or interrupt context.
pub fn mask(irq: u32) {
    if let Ok(chips) = io_apics()
        && !is_message(irq)
        && let Err(error) = chips.mask(irq)
    {
        log::error!("irq: masking {irq} failed: {error:?}");
    }
}

/// Lets a line deliver. Thread or interrupt context.
pub fn unmask(irq: u32) {
    if let Ok(chips) = io_apics()
        && !is_message(irq)
        && let Err(error) = chips.unmask(irq)
    {
        log::error!("irq: unmasking {irq} failed: {error:?}");
    }
}

/// Reads a line's mask bit back; `None` for messages and unknown lines.
#[must_use]
pub fn is_masked(irq: u32) -> Option<bool> {
    io_apics().ok()?.is_masked(irq).ok()
}

/// True while a level interrupt of the line is delivered but not acknowledged.
#[must_use]
pub fn in_flight(irq: u32) -> bool {
    io_apics().is_ok_and(|chips| chips.in_flight(irq) == Ok(true))
}

/// Masks every pin of every I/O APIC. The end of shutdown, panic paths.
pub fn mask_all() {
    if let Ok(chips) = io_apics() {
        chips.mask_all();
    }
}

/// Acknowledges the interrupt being served. [`dispatch`] does so itself after the handler; only code that leaves an interrupt
/// another way needs this.
#[inline]
pub fn end_of_interrupt() {
    apic::local().end_of_interrupt();
}

/// Runs a delivered vector's handler and acknowledges it. Interrupt context; the trap code's hook.
///
/// The acknowledgement follows the handler: a level line is either quiet or masked by then, so it does not fire twice. The
/// timer and the interprocessor vectors acknowledge first, because their handlers may switch threads and return much later.
#[inline]
pub fn dispatch(vector: u8) {
    let block = percpu::this_block();
    CpuBlock::bump(&block.interrupts);
    let outer = block.enter_interrupt();
    deliver(vector);
    block.leave_interrupt(outer);
}

#[inline]
fn deliver(vector: u8) {
    if vector == apic::SPURIOUS_VECTOR {
        HANDLERS.dispatch(vector);
        return;
    }
    if vector >= vectors::TIMER {
        end_of_interrupt();
        HANDLERS.dispatch(vector);
        return;
    }
    if !HANDLERS.dispatch(vector) {
        // Before the acknowledgement, or a level line would deliver once more.
        stray(vector);
    }
    if !(vectors::PIC_BASE..vectors::FIRST_DEVICE).contains(&vector) {
        end_of_interrupt();
    }
}

/// A vector nobody listens to: counted by the table; its line is masked, or it would come back for ever.
#[cold]
fn stray(vector: u8) {
    let Some(routes) = ROUTES.try_lock() else { return };
    let irq = routes.lines.iter().find(|line| line.vector == vector).map(|line| line.irq);
    drop(routes);
    if let Some(irq) = irq {
        mask(irq);
    }
}

/// A line of `show interrupts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineCount {
    /// The line.
    pub line: IrqLine,
    /// Deliveries that found a handler.
    pub delivered: u64,
    /// Deliveries that did not.
    pub stray: u64,
}

/// Every routed line with its counts. Thread context.
#[must_use]
pub fn lines() -> Vec<LineCount> {
    let lines = ROUTES.lock().lines.clone();
    let count = |line: IrqLine| LineCount {
        line,
        delivered: HANDLERS.delivered(line.vector),
        stray: HANDLERS.stray(line.vector),
    };
    lines.into_iter().map(count).collect()
}

/// Deliveries of vectors that have no handler, all together.
#[must_use]
pub fn strays() -> u64 {
    (vectors::PIC_BASE..=u8::MAX).map(|vector| HANDLERS.stray(vector)).sum()
}

/// Errors the executing processor's APIC latched since the last call.
#[must_use]
pub fn take_apic_errors() -> u32 {
    apic::local().take_errors()
}

/// Calls `visit` with the name of each lock in here and whether somebody holds it. Any context; never waits.
pub(crate) fn locks(visit: &mut dyn FnMut(&'static str, bool)) {
    visit("interrupt routes", ROUTES.is_held());
}

#[cfg(test)]
mod tests {
    use super::{first_message, message_for};

    #[test]
    fn messages_are_numbered_behind_the_last_line() {
        assert_eq!(first_message([24].into_iter()), 64);
        assert_eq!(first_message([24, 96, 48].into_iter()), 96);
        assert_eq!(first_message(core::iter::empty()), 64);
    }

    #[test]
    fn a_message_names_the_apic_id_in_bits_12_to_19_and_refuses_what_does_not_fit() {
        assert_eq!(message_for(3, 0x41), Some((0xFEE0_3000, 0x41)));
        assert_eq!(message_for(254, 0x41), Some((0xFEEF_E000, 0x41)));
        assert_eq!((message_for(255, 0x41), message_for(300, 0x41)), (None, None));
    }
}
