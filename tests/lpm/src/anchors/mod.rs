//! Other ways to find the longest match, to measure against: each as its description has it, answers as u16, 0 for "no route".

mod bare;
mod dir24;
mod dxr;
mod poptrie;

use std::net::Ipv4Addr;

pub use bare::BareRead;
pub use dir24::Dir24;
pub use dxr::Dxr;
pub use poptrie::Poptrie;

use crate::{Contender, PlainRoute};

/// The crate `iptrie`: a level-compressed trie, which cannot be changed.
pub struct Iptrie(iptrie::Ipv4LCTrieMap<u16>);

impl Iptrie {
    /// Makes it of all routes.
    ///
    /// # Panics
    /// If the crate refuses a prefix.
    #[must_use]
    pub fn new(table: &[PlainRoute]) -> Self {
        let mut map = iptrie::Ipv4RTrieMap::with_root(0);
        for &((address, length), number) in table {
            let prefix = iptrie::Ipv4Prefix::new(Ipv4Addr::from_bits(address), length).expect("a prefix");
            map.insert(prefix, number + 1);
        }
        Self(map.compress())
    }
}

impl Contender for Iptrie {
    #[inline]
    fn look_up(&self, address: Ipv4Addr) -> u16 {
        *self.0.lookup(&address).1
    }
}

impl std::fmt::Debug for Iptrie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Iptrie")
    }
}
