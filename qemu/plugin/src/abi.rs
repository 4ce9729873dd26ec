//! What this plugin uses of QEMU's plugin interface, version [`VERSION`] (QEMU 4.2 to 8.2), which comes with no header in
//! Debian's packages: names, types and meanings are those of QEMU's `include/qemu/qemu-plugin.h`.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// The version of the interface that this file describes.
pub(crate) const VERSION: c_int = 1;

/// Names a loaded plugin.
pub(crate) type PluginId = u64;

/// Describes an access to memory; to be asked through functions only.
pub(crate) type MemInfo = u32;

/// A block that is being translated; valid during the callback that is given it.
#[repr(C)]
pub(crate) struct Tb {
    opaque: [u8; 0],
}

/// An instruction of a [`Tb`], valid as long.
#[repr(C)]
pub(crate) struct Insn {
    opaque: [u8; 0],
}

/// The physical side of an access to memory; valid during the callback.
#[repr(C)]
pub(crate) struct HwAddr {
    opaque: [u8; 0],
}

/// What QEMU tells a plugin when it loads it.
#[repr(C)]
pub(crate) struct Info {
    /// The architecture's name, as in the program's name.
    pub(crate) target_name: *const c_char,
    /// The oldest version of the interface that this QEMU serves.
    pub(crate) version_min: c_int,
    /// The newest one.
    pub(crate) version_cur: c_int,
    /// Whether it emulates a machine, and not a process.
    pub(crate) system_emulation: bool,
    /// The number of vCPUs that the machine starts with.
    pub(crate) smp_vcpus: c_int,
    /// The number that it may have.
    pub(crate) max_vcpus: c_int,
}

/// `QEMU_PLUGIN_CB_NO_REGS`: the callback does not look at the guest's registers.
pub(crate) const CB_NO_REGS: c_int = 0;

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
pub(crate) const INLINE_ADD_U64: c_int = 0;

/// `QEMU_PLUGIN_MEM_RW`: both reads and writes.
pub(crate) const MEM_RW: c_int = 3;

pub(crate) type TbTransCb = extern "C" fn(PluginId, *mut Tb);
pub(crate) type VcpuCb = extern "C" fn(c_uint, *mut c_void);
pub(crate) type MemCb = extern "C" fn(c_uint, MemInfo, u64, *mut c_void);

unsafe extern "C" {
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(id: PluginId, callback: TbTransCb);
    pub(crate) fn qemu_plugin_register_vcpu_tb_exec_cb(tb: *mut Tb, callback: VcpuCb, flags: c_int, data: *mut c_void);
    pub(crate) fn qemu_plugin_register_vcpu_tb_exec_inline(tb: *mut Tb, op: c_int, target: *mut c_void, operand: u64);
    pub(crate) fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        callback: MemCb,
        flags: c_int,
        kind: c_int,
        data: *mut c_void,
    );
    pub(crate) fn qemu_plugin_tb_n_insns(tb: *const Tb) -> usize;
    pub(crate) fn qemu_plugin_tb_vaddr(tb: *const Tb) -> u64;
    pub(crate) fn qemu_plugin_tb_get_insn(tb: *const Tb, index: usize) -> *mut Insn;
    pub(crate) fn qemu_plugin_insn_size(insn: *const Insn) -> usize;
    // It looks at nothing but the bits of its argument.
    pub(crate) safe fn qemu_plugin_mem_is_store(info: MemInfo) -> bool;
    pub(crate) fn qemu_plugin_get_hwaddr(info: MemInfo, vaddr: u64) -> *mut HwAddr;
    pub(crate) fn qemu_plugin_hwaddr_is_io(address: *const HwAddr) -> bool;
    pub(crate) fn qemu_plugin_hwaddr_phys_addr(address: *const HwAddr) -> u64;
    pub(crate) fn qemu_plugin_hwaddr_device_name(address: *const HwAddr) -> *const c_char;
}
