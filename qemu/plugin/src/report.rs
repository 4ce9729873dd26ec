//! Snapshots of all counters as text, for who asks on the socket: [`serve`].
//!
//! Each line `snapshot` is answered by
//!
//! ```text
//! meter 1 vcpus 2                      the format's version
//! block ffffffff80001000 4,1,3 7 0     start, lengths of the instructions, entered by vCPU 0, by vCPU 1
//! register 0 w febc0018 17 e1000-mmio  vCPU, read or write, physical address, how often, device
//! end
//! ```

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
};

use crate::{blocks::Blocks, registers::Registers};

/// The version of the format.
const FORMAT: u32 = 1;

/// Answers requests until the other side closes.
///
/// # Errors
/// When the connection fails.
pub(crate) fn serve(stream: impl Read + Write, blocks: &Blocks, registers: &Registers) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while stream.read_line(&mut request)? > 0 {
        let answer = match request.trim() {
            "snapshot" => snapshot(blocks, registers),
            other => format!("unknown request {other:?}\nend\n"),
        };
        stream.get_mut().write_all(answer.as_bytes())?;
        request.clear();
    }
    Ok(())
}

fn snapshot(blocks: &Blocks, registers: &Registers) -> String {
    // All numbers first: while they are written down, the guest runs on.
    let (blocks, registers, vcpus) = (blocks.counts(), registers.counts(), blocks.vcpus());
    let mut text = format!("meter {FORMAT} vcpus {vcpus}\n");
    for (block, counts) in blocks {
        let lengths: Vec<String> = block.lengths.iter().map(u8::to_string).collect();
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "block {:x} {} {}", block.start, lengths.join(","), counts.join(" "));
    }
    for (access, accessed) in registers {
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
    fn a_snapshot_tells_blocks_and_registers() {
        let (blocks, registers) = (Blocks::new(2), Registers::default());
        blocks.at(0x1000, &[4, 1]).enter(1);
        registers.count(Access { vcpu: 1, address: 0x18, is_write: true }, || "a nic".into());
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"snapshot\nwhat\n").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        serve(&theirs, &blocks, &registers).unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        let wanted =
            "meter 1 vcpus 2\nblock 1000 4,1 0 1\nregister 1 w 18 1 a nic\nend\nunknown request \"what\"\nend\n";
        assert_eq!(text, wanted);
    }
}
