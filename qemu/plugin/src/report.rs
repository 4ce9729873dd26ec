//! Snapshots of all counters as text, for who asks on the socket: [`serve`].
//!
//! A line `mark` keeps the numbers of that moment and is answered `marked` at once, so that who asks is not held up. A line `read`
//! is answered with what was marked, the oldest first:
//!
//! ```text
//! meter 1 vcpus 2                      the format's version
//! block ffffffff80001000 4,1,3 7 0     start, lengths of the instructions, entered by vCPU 0, by vCPU 1
//! register 0 w febc0018 17 e1000-mmio  vCPU, read or write, physical address, how often, device
//! end
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
};

use crate::{
    blocks::{Blocks, Counts},
    registers::{Access, Accessed, Registers},
};

/// The version of the format.
const FORMAT: u32 = 1;

/// The numbers of a moment.
struct Mark {
    blocks: Counts,
    registers: BTreeMap<Access, Accessed>,
}

/// Answers requests until the other side closes.
///
/// # Errors
/// When the connection fails.
pub(crate) fn serve(stream: impl Read + Write, blocks: &Blocks, registers: &Registers) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut marks = VecDeque::new();
    let mut request = String::new();
    while stream.read_line(&mut request)? > 0 {
        let answer = match request.trim() {
            "mark" => {
                marks.push_back(Mark { blocks: blocks.counts(), registers: registers.counts() });
                "marked\n".into()
            }
            "read" => match marks.pop_front() {
                Some(mark) => text(&mark, blocks.vcpus()),
                None => "nothing is marked\nend\n".into(),
            },
            other => format!("unknown request {other:?}\nend\n"),
        };
        stream.get_mut().write_all(answer.as_bytes())?;
        request.clear();
    }
    Ok(())
}

fn text(mark: &Mark, vcpus: usize) -> String {
    let mut text = format!("meter {FORMAT} vcpus {vcpus}\n");
    for (block, counts) in mark.blocks.iter() {
        let lengths: Vec<String> = block.lengths.iter().map(u8::to_string).collect();
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "block {:x} {} {}", block.start, lengths.join(","), counts.join(" "));
    }
    for (access, accessed) in &mark.registers {
        let kind = if access.is_write { 'w' } else { 'r' };
        let (vcpu, address, count) = (access.vcpu, access.address, accessed.count);
        let _ = writeln!(text, "register {vcpu} {kind} {address:x} {count} {}", accessed.device);
    }
    text + "end\n"
}

#[cfg(test)]
mod tests {
    use std::{net::Shutdown, os::unix::net::UnixStream};

    use super::*;
    use crate::registers::Access;

    #[test]
    fn what_was_marked_is_read_as_it_was_then() {
        let (blocks, registers) = (Blocks::new(2), Registers::default());
        blocks.at(0x1000, &[4, 1]).enter(1);
        registers.count(Access { vcpu: 1, address: 0x18, is_write: true }, || "a nic".into());
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&theirs, &blocks, &registers).unwrap());
            let mut ask = |request: &str, length: usize| {
                ours.write_all(request.as_bytes()).unwrap();
                let mut answer = vec![0; length];
                ours.read_exact(&mut answer).unwrap();
                String::from_utf8(answer).unwrap()
            };
            assert_eq!(ask("mark\n", 7), "marked\n");
            blocks.at(0x1000, &[4, 1]).enter(1);
            for wanted in
                ["meter 1 vcpus 2\nblock 1000 4,1 0 1\nregister 1 w 18 1 a nic\nend\n", "nothing is marked\nend\n"]
            {
                assert_eq!(ask("read\n", wanted.len()), wanted);
            }
            let wanted = "unknown request \"what\"\nend\n";
            assert_eq!(ask("what\n", wanted.len()), wanted);
            ours.shutdown(Shutdown::Both).unwrap();
        });
    }
}
