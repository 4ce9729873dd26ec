//! The writer, for hosts: collects symbols and lines in any order and makes a table of them.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    build_id::BuildId,
    layout::{BUILD_ID_SIZE, HEADER_SIZE, MAGIC, MAX_WORDS, ROWS_PER_BLOCK},
    lines::Row,
    varint,
};

/// Collects what a table is made of.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    symbols: BTreeMap<u32, (u32, String)>,
    lines: BTreeMap<u32, Option<(String, u32)>>,
}

/// What cannot be put into a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// A section became larger than 4 GiB.
    TooLarge,
}

impl Builder {
    /// Adds a symbol. Of several with one address the one that says more stays: with a length, else with the shorter name.
    pub fn symbol(&mut self, address: u32, size: u32, name: &str) {
        let is_better = |(old_size, old): &(u32, String)| {
            (size > 0, core::cmp::Reverse((name.len(), name)))
                > (*old_size > 0, core::cmp::Reverse((old.len(), old.as_str())))
        };
        if !name.is_empty() && self.symbols.get(&address).is_none_or(is_better) {
            self.symbols.insert(address, (size, name.to_string()));
        }
    }

    /// Says that from `address` on, up to the next such address, the code was made of this line.
    pub fn line(&mut self, address: u32, file: &str, line: u32) {
        self.lines.insert(address, Some((file.to_string(), line)));
    }

    /// Says that from `address` on nothing is known, unless something is said of the address itself.
    pub fn no_line(&mut self, address: u32) {
        self.lines.entry(address).or_default();
    }

    /// Makes the table.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`].
    pub fn finish(&self, build_id: BuildId) -> Result<Vec<u8>, WriteError> {
        let words = self.words();
        let (symbols, names) = self.symbol_sections(&words)?;
        let (blocks, rows) = self.line_sections(&words)?;
        let (ends, text) = word_sections(&words)?;
        let mut out = MAGIC.to_vec();
        out.extend(narrow(build_id.as_bytes().len())?.to_le_bytes());
        out.extend(build_id.as_bytes());
        out.resize(MAGIC.len() + 4 + BUILD_ID_SIZE, 0);
        let sections = [symbols, names, blocks, rows, ends, text];
        let mut offset = HEADER_SIZE;
        for section in &sections {
            out.extend(narrow(offset)?.to_le_bytes());
            out.extend(narrow(section.len())?.to_le_bytes());
            offset += section.len();
        }
        out.extend(sections.concat());
        Ok(out)
    }

    /// Numbers all words, the most frequent first, so that they have the shortest numbers.
    fn words(&self) -> BTreeMap<&str, u32> {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let names = self.symbols.values().flat_map(|(_, name)| split(name));
        let files = self.lines.values().flatten().map(|(file, _)| file.as_str());
        for word in names.chain(files) {
            *counts.entry(word).or_default() += 1;
        }
        let mut order: Vec<(&str, u32)> = counts.into_iter().collect();
        order.sort_by_key(|&(word, count)| (core::cmp::Reverse(count), word));
        order.into_iter().zip(0..).map(|((word, _), number)| (word, number)).collect()
    }

    fn symbol_sections(&self, words: &BTreeMap<&str, u32>) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
        let (mut symbols, mut names) = (Vec::new(), Vec::new());
        for (address, (size, name)) in &self.symbols {
            for number in [*address, *size, narrow(names.len())?] {
                symbols.extend(number.to_le_bytes());
            }
            let parts = split(name);
            varint::put(&mut names, narrow(parts.len())?);
            parts.iter().for_each(|word| varint::put(&mut names, words[word]));
        }
        Ok((symbols, names))
    }

    fn line_sections(&self, words: &BTreeMap<&str, u32>) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
        let mut table: Vec<Row> = Vec::new();
        for (address, known) in &self.lines {
            let (file, line) = known.as_ref().map_or((0, 0), |(file, line)| (words[file.as_str()], *line));
            let row = Row { address: *address, file, line };
            if table.last().is_none_or(|last| (last.file, last.line) != (file, line)) {
                table.push(row);
            }
        }
        let (mut blocks, mut rows) = (Vec::new(), Vec::new());
        for block in table.chunks(ROWS_PER_BLOCK) {
            let mut last = Row { address: block[0].address, ..Row::default() };
            blocks.extend(last.address.to_le_bytes());
            blocks.extend(narrow(rows.len())?.to_le_bytes());
            for row in block {
                let distance = (row.address - last.address).checked_mul(2).ok_or(WriteError::TooLarge)?;
                varint::put(&mut rows, distance | u32::from(row.file != last.file));
                if row.file != last.file {
                    varint::put(&mut rows, row.file);
                }
                let difference = i64::from(row.line) - i64::from(last.line);
                varint::put_signed(&mut rows, i32::try_from(difference).map_err(|_| WriteError::TooLarge)?);
                last = *row;
            }
        }
        Ok((blocks, rows))
    }
}

fn word_sections(words: &BTreeMap<&str, u32>) -> Result<(Vec<u8>, Vec<u8>), WriteError> {
    let mut ordered: Vec<(&str, u32)> = words.iter().map(|(word, number)| (*word, *number)).collect();
    ordered.sort_by_key(|(_, number)| *number);
    let (mut ends, mut text) = (Vec::new(), Vec::new());
    for (word, _) in ordered {
        text.extend(word.as_bytes());
        ends.extend(narrow(text.len())?.to_le_bytes());
    }
    Ok((ends, text))
}

fn narrow(number: usize) -> Result<u32, WriteError> {
    u32::try_from(number).map_err(|_| WriteError::TooLarge)
}

/// Splits a name into words: an identifier with the `::` behind it, or what stands between two; the last takes what is left over.
fn split(name: &str) -> Vec<&str> {
    let is_identifier = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let (mut words, mut rest) = (Vec::new(), name);
    while let Some(first) = rest.chars().next() {
        let inside = is_identifier(first);
        let mut end = rest.find(|c| is_identifier(c) != inside).unwrap_or(rest.len());
        if inside && rest[end..].starts_with("::") {
            end += 2;
        }
        if words.len() == MAX_WORDS - 1 {
            end = rest.len();
        }
        let (word, left) = rest.split_at(end);
        words.push(word);
        rest = left;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::split;
    use crate::layout::MAX_WORDS;

    #[test]
    fn a_name_is_split_behind_each_part_of_its_path() {
        assert_eq!(split("e1000::tx::encap"), ["e1000::", "tx::", "encap"]);
        assert_eq!(split("<a::B<u8> as C>::f"), ["<", "a::", "B", "<", "u8", "> ", "as", " ", "C", ">::", "f"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn a_name_of_very_many_words_keeps_all_of_its_text() {
        let name = "a::".repeat(3 * MAX_WORDS);
        assert_eq!(split(&name).len(), MAX_WORDS);
        assert_eq!(split(&name).concat(), name);
    }
}
