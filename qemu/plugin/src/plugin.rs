//! The plugin as QEMU sees it: [`qemu_plugin_install`] and the callbacks that it registers.

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    os::unix::net::UnixStream,
    sync::OnceLock,
    thread,
};

use crate::{
    abi::{self, HwAddr, Info, Insn, MemInfo, PluginId, Tb},
    arguments::{self, Arguments},
    blocks::{Block, Blocks},
    registers::{Access, Registers},
    report,
};

/// Everything that is counted.
struct Meter {
    blocks: Blocks,
    registers: Registers,
    counts_registers: bool,
}

/// Callbacks have no place for it in their arguments.
static METER: OnceLock<Meter> = OnceLock::new();

/// By this QEMU knows which interface the plugin was written for; it refuses one that it does not serve.
// SAFETY: no other object that QEMU loads defines this name; plugins are found by it within their own file.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = abi::VERSION;

/// QEMU's entry: reads the arguments, connects to the socket, and asks to be told of each translation.
///
/// # Safety
/// Only for QEMU, with pointers as its interface promises them: `info` valid during the call, `argv` with `argc` texts.
// SAFETY: as for the version.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: QEMU passes a valid text in it.
    let target = unsafe { text(info.target_name) };
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: QEMU passes so many, and no null pointer unless there are none.
    let words: &[*const c_char] = if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(argv, count) } };
    // SAFETY: each is a valid text.
    let words: Vec<String> = words.iter().map(|word| unsafe { text(*word) }).collect();
    match install(info, &target, &words) {
        Ok(()) => {
            // SAFETY: `id` is ours, and the callback lives as long as QEMU: nothing unloads us.
            unsafe { abi::qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
            0
        }
        Err(error) => {
            eprintln!("tcg_meter: {error}");
            1
        }
    }
}

fn install(info: &Info, target: &str, words: &[String]) -> Result<(), String> {
    arguments::check_version(abi::VERSION, info.version_min, info.version_cur)?;
    arguments::check_target(target, info.system_emulation)?;
    let arguments = Arguments::parse(words.iter().map(String::as_str))?;
    let vcpus = usize::try_from(info.smp_vcpus.max(info.max_vcpus)).unwrap_or(0);
    let stream = UnixStream::connect(&arguments.socket);
    let stream = stream.map_err(|error| format!("cannot connect to {}: {error}", arguments.socket))?;
    let (blocks, registers) = (Blocks::new(vcpus), Registers::default());
    let meter = METER.get_or_init(|| Meter { blocks, registers, counts_registers: arguments.registers });
    let answers = move || {
        // When who asks has gone, there is nobody left to be told anything.
        let _ = report::serve(&stream, &meter.blocks, &meter.registers);
    };
    thread::Builder::new().name("tcg_meter".into()).spawn(answers).map_err(|error| error.to_string())?;
    Ok(())
}

/// Called for each block that TCG translates: has it counted whenever it is executed.
extern "C" fn translated(_: PluginId, tb: *mut Tb) {
    let Some(meter) = METER.get() else { return };
    // SAFETY: `tb` is valid during this callback.
    let start = unsafe { abi::qemu_plugin_tb_vaddr(tb) };
    // SAFETY: the same.
    let count = unsafe { abi::qemu_plugin_tb_n_insns(tb) };
    // SAFETY: `tb` is valid, and each index below its count.
    let insns: Vec<*mut Insn> = (0..count).map(|index| unsafe { abi::qemu_plugin_tb_get_insn(tb, index) }).collect();
    // SAFETY: the instructions are valid as long as `tb`.
    let size = |insn: &*mut Insn| unsafe { abi::qemu_plugin_insn_size(*insn) };
    let lengths: Vec<u8> = insns.iter().map(|insn| u8::try_from(size(insn)).unwrap_or(u8::MAX)).collect();
    let block = meter.blocks.at(start, &lengths);
    count_entries(meter, tb, block);
    if meter.counts_registers {
        for insn in insns {
            // SAFETY: the instruction is valid, and the callback lives as long as QEMU.
            unsafe {
                abi::qemu_plugin_register_vcpu_mem_cb(
                    insn,
                    accessed,
                    abi::CB_NO_REGS,
                    abi::MEM_RW,
                    std::ptr::null_mut(),
                );
            }
        }
    }
}

/// Has `block` counted whenever `tb` is executed.
fn count_entries(meter: &Meter, tb: *mut Tb, block: &'static Block) {
    match block.entered.as_slice() {
        // One vCPU alone may count without asking which it is: a few instructions in the translated code itself. Several would
        // lose counts to each other that way, and have to call.
        [only] if meter.blocks.vcpus() == 1 => {
            let target = only.0.as_ptr().cast();
            // SAFETY: `tb` is valid, and the counter lives as long as QEMU and is written by nothing else.
            unsafe { abi::qemu_plugin_register_vcpu_tb_exec_inline(tb, abi::INLINE_ADD_U64, target, 1) };
        }
        _ => {
            let data = std::ptr::from_ref(block).cast_mut().cast();
            // SAFETY: `tb` is valid; callback and block live as long as QEMU.
            unsafe { abi::qemu_plugin_register_vcpu_tb_exec_cb(tb, entered, abi::CB_NO_REGS, data) };
        }
    }
}

/// Called whenever a vCPU enters a block.
extern "C" fn entered(vcpu: c_uint, block: *mut c_void) {
    // SAFETY: `count_entries` registered a block that lives as long as QEMU, and only shared references to it exist.
    let block = unsafe { &*block.cast::<Block>() };
    block.enter(vcpu as usize);
}

/// Called after each access to memory.
extern "C" fn accessed(vcpu: c_uint, info: MemInfo, address: u64, _: *mut c_void) {
    // SAFETY: both are what QEMU has just passed.
    let hardware = unsafe { abi::qemu_plugin_get_hwaddr(info, address) };
    // SAFETY: it is valid during this callback, unless null.
    if hardware.is_null() || unsafe { !abi::qemu_plugin_hwaddr_is_io(hardware) } {
        return;
    }
    let Some(meter) = METER.get() else { return };
    // SAFETY: as above.
    let address = unsafe { abi::qemu_plugin_hwaddr_phys_addr(hardware) };
    let is_write = abi::qemu_plugin_mem_is_store(info);
    meter.registers.count(Access { vcpu: vcpu as usize, address, is_write }, || device_name(hardware));
}

/// Returns what QEMU calls the device at `hardware`.
fn device_name(hardware: *const HwAddr) -> String {
    // SAFETY: it is valid during the callback that calls this.
    let name = unsafe { abi::qemu_plugin_hwaddr_device_name(hardware) };
    if name.is_null() {
        return "unknown".into();
    }
    // SAFETY: a text that lives as long as QEMU.
    unsafe { text(name) }
}

/// Copies a text of C.
///
/// # Safety
/// `text` is valid and ends in a zero.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
