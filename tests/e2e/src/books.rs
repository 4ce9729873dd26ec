//! What `show audit` shows, as numbers: [`Books`].

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use sluice::guest::is_message;

/// The router's own account of every frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Frames that ports handed up.
    pub received: u64,
    /// Packets the router made itself.
    pub originated: u64,
    /// How received frames ended: `forwarded`, `delivered`, or the name of a reason to drop.
    pub fates: BTreeMap<String, u64>,
    /// How the router's own packets ended; `forwarded` means sent.
    pub own_fates: BTreeMap<String, u64>,
    /// Packets that wait for an address or in a queue.
    pub held: u64,
    /// What came or was made, minus what ended or waits.
    pub unexplained: i64,
}

impl Books {
    /// Reads the table.
    ///
    /// # Errors
    /// When it is not that table.
    pub fn parse(table: &str) -> Result<Self> {
        let mut books = Self::default();
        let mut is_own = false;
        let mut is_complete = false;
        for line in table.lines().filter(|line| !line.trim().is_empty() && !is_message(line)) {
            let (name, number) = line.trim_end().rsplit_once(' ').with_context(|| format!("no number in {line:?}"))?;
            let read = || number.parse::<u64>().with_context(|| format!("no number in {line:?}"));
            match name.trim_end() {
                "received" => books.received = read()?,
                "originated" => (books.originated, is_own) = (read()?, true),
                held if held.starts_with("held ") => books.held += read()?,
                "unexplained" => (books.unexplained, is_complete) = (number.parse()?, true),
                fate if fate.starts_with(' ') => {
                    let fates = if is_own { &mut books.own_fates } else { &mut books.fates };
                    fates.insert(fate.trim().to_owned(), read()?);
                }
                _ => bail!("what is {line:?} in the audit?"),
            }
        }
        if is_complete { Ok(books) } else { bail!("this is no audit: {table:?}") }
    }

    /// Returns how many received frames ended as `fate`.
    #[must_use]
    pub fn fate(&self, fate: &str) -> u64 {
        self.fates.get(fate).copied().unwrap_or(0)
    }

    /// Returns how many of the router's own packets ended as `fate`.
    #[must_use]
    pub fn own_fate(&self, fate: &str) -> u64 {
        self.own_fates.get(fate).copied().unwrap_or(0)
    }

    /// Returns how many received frames were dropped, for whatever reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let is_drop = |name: &str| name != "forwarded" && name != "delivered";
        self.fates.iter().filter(|(name, _)| is_drop(name)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
received                                   12
  forwarded                                 7
  delivered                                 2
  no-route                                  1
  ttl-expired                               1
originated                                  3
  forwarded                                 2
  delivered                                 0
  icmp-suppressed                           1
held for arp                                1
held for other fragments                    0
held in netisr queues                       0
unexplained                                 0
";

    #[test]
    fn the_table_is_read_with_both_books_apart() {
        let books = Books::parse(TABLE).unwrap();
        assert_eq!((books.received, books.originated, books.held, books.unexplained), (12, 3, 1, 0));
        assert_eq!((books.fate("forwarded"), books.fate("no-route"), books.dropped()), (7, 1, 2));
        assert_eq!((books.own_fate("icmp-suppressed"), books.fate("icmp-suppressed")), (1, 0));
    }

    #[test]
    fn what_the_router_says_in_the_middle_is_no_part_of_the_table() {
        let table =
            TABLE.replace("originated", "[    1.200003] boot: first packet forwarded after 1100321 us\noriginated");
        assert_eq!(Books::parse(&table).unwrap(), Books::parse(TABLE).unwrap());
    }

    #[test]
    fn a_difference_of_either_sign_is_read() {
        assert_eq!(
            Books::parse(&TABLE.replace("unexplained                                 0", "unexplained -3"))
                .unwrap()
                .unexplained,
            -3
        );
    }

    #[test]
    fn what_is_no_audit_is_refused() {
        assert!(Books::parse("no data path\n").is_err());
        assert!(Books::parse("").is_err());
        assert!(Books::parse(&TABLE.replace("unexplained", "")).is_err());
    }
}
