//! PCI enumeration, BARs and interrupt pins over pci_types.

#![no_std]
#![forbid(unsafe_code)]
