//! Boots the kernel in QEMU and checks what it promises.

//! Placeholder while the workspace is laid out.
