//! DIR-24-8 (Gupta, Lin, McKeown, INFOCOM 1998): [`Dir24`], an answer for each /24, and 256 more where there are longer prefixes.

use std::net::Ipv4Addr;

use crate::{Contender, PlainRoute};

/// Set in the answer of a /24 that is the number of its 256 answers.
const LONG: u16 = 0x8000;

/// The table.
#[derive(Debug)]
pub struct Dir24 {
    short: Vec<u16>,
    long: Vec<u16>,
}

impl Dir24 {
    /// Makes it of all routes.
    ///
    /// # Panics
    /// If more than 32,768 /24s have longer prefixes in them.
    #[must_use]
    pub fn new(table: &[PlainRoute]) -> Self {
        let mut made = Self { short: vec![0; 1 << 24], long: Vec::new() };
        let mut sorted = table.to_vec();
        sorted.sort_unstable_by_key(|&((_, length), _)| length);
        for ((address, length), number) in sorted {
            let place = (address >> 8) as usize;
            if length <= 24 {
                made.short[place..place + (1 << (24 - length))].fill(number + 1);
                continue;
            }
            if made.short[place] & LONG == 0 {
                let chunk = u16::try_from(made.long.len() / 256).expect("few prefixes are that long");
                assert!(chunk < LONG, "few prefixes are that long");
                made.long.extend([made.short[place]; 256]);
                made.short[place] = LONG | chunk;
            }
            let place = usize::from(made.short[place] & !LONG) * 256 + (address & 255) as usize;
            made.long[place..place + (1 << (32 - length))].fill(number + 1);
        }
        made
    }

    /// Returns how much memory it takes.
    #[must_use]
    pub fn octets(&self) -> usize {
        (self.short.len() + self.long.len()) * size_of::<u16>()
    }
}

impl Contender for Dir24 {
    #[inline]
    fn look_up(&self, address: Ipv4Addr) -> u16 {
        let address = address.to_bits();
        let answer = self.short[(address >> 8) as usize];
        if answer & LONG == 0 {
            answer
        } else {
            self.long[usize::from(answer & !LONG) * 256 + (address & 255) as usize]
        }
    }
}
