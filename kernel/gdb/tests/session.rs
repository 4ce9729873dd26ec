//! gdb's side of the protocol, packet by packet, against a machine made of a few arrays.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use gdb::{Line, Machine, Outcome, Registers, Session, Why};
use proptest::prelude::*;

const CODE: u64 = 0x1000;

/// Two processors, 256 octets of memory at [`CODE`], and the breakpoints that were set.
struct Fake {
    registers: [Registers; 2],
    memory: Vec<u8>,
    breakpoints: BTreeSet<u64>,
}

impl Fake {
    fn new() -> Self {
        let registers = [0x1010, 0x1020].map(|rip| Registers { rip, rflags: 2, cs: 8, ..Registers::default() });
        Self { registers, memory: (0..=255).collect(), breakpoints: BTreeSet::new() }
    }
}

impl Machine for Fake {
    fn cpu(&self) -> u16 {
        1
    }

    fn each_cpu(&self, each: &mut dyn FnMut(u16)) {
        // The third did not stop.
        (0..3).for_each(each);
    }

    fn registers(&self, cpu: u16) -> Option<Registers> {
        self.registers.get(usize::from(cpu)).copied()
    }

    fn set_registers(&mut self, registers: &Registers) {
        self.registers[1] = *registers;
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> usize {
        let start = address.wrapping_sub(CODE).min(256) as usize;
        let readable = &self.memory[start..];
        let count = readable.len().min(out.len());
        out[..count].copy_from_slice(&readable[..count]);
        count
    }

    fn write(&mut self, address: u64, data: &[u8]) -> bool {
        let start = address.wrapping_sub(CODE).min(256) as usize;
        let place = self.memory.get_mut(start..start + data.len());
        place.map(|place| place.copy_from_slice(data)).is_some()
    }

    fn set_breakpoint(&mut self, address: u64) -> bool {
        let is_code = (CODE..CODE + 256).contains(&address);
        if is_code {
            self.breakpoints.insert(address);
        }
        is_code
    }

    fn clear_breakpoint(&mut self, address: u64) -> bool {
        self.breakpoints.remove(&address)
    }

    fn describe(&self, cpu: u16, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}", ["idle", "irq16: em0", "lost"][usize::from(cpu)])
    }
}

/// What gdb sends, and what it receives.
#[derive(Default)]
struct Cable {
    sent: VecDeque<u8>,
    received: Vec<u8>,
}

impl Line for Cable {
    fn receive(&mut self) -> Option<u8> {
        self.sent.pop_front()
    }

    fn send(&mut self, octet: u8) {
        self.received.push(octet);
    }
}

/// Returns the packet of this text.
fn packet(text: &str) -> String {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}")
}

/// Sends these packets at a stop, each answer acknowledged, and returns how it ended and the answers.
fn stop(session: &mut Session, machine: &mut Fake, why: Why, packets: &[&str]) -> (Outcome, Vec<String>) {
    let mut cable = Cable::default();
    for text in packets {
        cable.sent.extend(packet(text).bytes());
        cable.sent.push_back(b'+');
    }
    let outcome = session.attend(why, machine, &mut cable);
    let text = String::from_utf8(cable.received).unwrap();
    (outcome, text.split('$').skip(1).map(|answer| expanded(answer.split('#').next().unwrap())).collect())
}

/// Undoes the run-length encoding of answers: `0* ` is four zeros.
fn expanded(answer: &str) -> String {
    let (mut text, mut rest) = (String::new(), answer.chars());
    while let Some(next) = rest.next() {
        match (next, text.chars().last()) {
            ('*', Some(last)) => {
                let count = rest.next().unwrap() as usize - 29;
                text.extend(std::iter::repeat_n(last, count));
            }
            _ => text.push(next),
        }
    }
    text
}

fn answers(machine: &mut Fake, packets: &[&str]) -> Vec<String> {
    let (outcome, answers) = stop(&mut Session::new(), machine, Why::Interrupt, packets);
    assert_eq!(outcome, Outcome::Abandoned, "nothing more was sent");
    answers
}

#[test]
fn memory_is_read_and_written_and_a_fault_is_an_error() {
    let mut machine = Fake::new();
    assert_eq!(answers(&mut machine, &["m1004,4", "m10fe,8", "m5000,4"])[..2], ["04050607", "feff"]);
    assert!(answers(&mut machine, &["m5000,4"])[0].starts_with('E'));
    assert_eq!(answers(&mut machine, &["M1004,2:aabb", "m1003,4"]), ["OK", "03aabb06"]);
    assert!(answers(&mut machine, &["M10ff,2:aabb"])[0].starts_with('E'));
}

#[test]
fn each_processor_is_a_thread_with_its_own_registers() {
    let mut machine = Fake::new();
    // Own first; numbers begin at 1.
    let shown = answers(&mut machine, &["qfThreadInfo", "qsThreadInfo", "qThreadExtraInfo,2", "Hg1", "g", "Hg2", "g"]);
    assert_eq!(shown[..2], ["m02,01,03", "l"]);
    let extra = "cpu 1, irq16: em0".bytes().map(|octet| format!("{octet:02x}")).collect::<String>();
    assert_eq!(shown[2], extra);
    let rip = |registers: &str| registers[16 * 16..16 * 17].to_owned();
    assert_eq!((rip(&shown[4]).as_str(), rip(&shown[6]).as_str()), ("1010000000000000", "2010000000000000"));
    assert!(answers(&mut machine, &["Hg3", "g"])[1].starts_with('E'), "it did not stop");
}

#[test]
fn only_the_registers_of_the_asking_processor_are_changed() {
    let mut machine = Fake::new();
    let registers = answers(&mut machine, &["Hg2", "g"])[1].clone();
    let changed = format!("G{}{}", "11".repeat(8), &registers[16..]);
    assert_eq!(answers(&mut machine, &["Hg2", &changed]), ["OK", "OK"]);
    assert_eq!(machine.registers[1].general[0], 0x1111_1111_1111_1111);
    assert_eq!((machine.registers[1].rip, machine.registers[1].cs), (0x1020, 8));
    assert!(answers(&mut machine, &["Hg1", &changed])[1].starts_with('E'));
    assert_eq!(machine.registers[0].general[0], 0);
}

#[test]
fn a_session_goes_on_where_the_last_stop_left_it() {
    let (mut session, mut machine) = (Session::new(), Fake::new());
    let hello = "qSupported:multiprocess+;swbreak+;hwbreak+";
    let (outcome, shown) = stop(&mut session, &mut machine, Why::Interrupt, &[hello, "Z0,1020,1", "vCont;c"]);
    assert_eq!(outcome, Outcome::Continue);
    assert!(shown[0].contains("PacketSize=1000") && !shown[0].contains("QStartNoAckMode"), "{shown:?}");
    assert_eq!((shown[1].as_str(), machine.breakpoints.contains(&0x1020), shown.len()), ("OK", true, 2));
    assert!(session.is_waiting());
    let (outcome, shown) = stop(&mut session, &mut machine, Why::Breakpoint, &["z0,1020,1", "vCont;s:p1.2"]);
    assert_eq!(outcome, Outcome::Step);
    assert_eq!(shown, ["T05thread:p01.02;swbreak:;", "OK"], "the stop is reported unasked");
    assert!(machine.breakpoints.is_empty());
    let (outcome, shown) = stop(&mut session, &mut machine, Why::Step, &["m1000,1", "D;1"]);
    assert_eq!((outcome, shown), (Outcome::Detached, vec!["T05thread:p01.02;".into(), "00".into(), "OK".into()]));
    assert!(!session.is_waiting());
    // Whoever comes next has to ask, and is nobody who names processes.
    let (_, shown) = stop(&mut session, &mut machine, Why::Interrupt, &["qC"]);
    assert_eq!(shown.len(), 1);
    assert!(!shown[0].contains('p'), "{shown:?}");
}

#[test]
fn each_reason_has_its_signal() {
    for (why, signal) in
        [(Why::Interrupt, "02"), (Why::BadAccess, "0b"), (Why::BadInstruction, "04"), (Why::Panic, "06")]
    {
        let (mut session, mut machine) = (Session::new(), Fake::new());
        stop(&mut session, &mut machine, Why::Interrupt, &["vCont;c"]);
        let (_, shown) = stop(&mut session, &mut machine, why, &[]);
        assert_eq!(shown, [format!("T{signal}thread:02;")]);
    }
}

#[test]
fn a_damaged_packet_is_asked_for_again() {
    let (mut session, mut machine) = (Session::new(), Fake::new());
    let mut cable = Cable::default();
    cable.sent.extend(b"$m1004,4#00");
    cable.sent.extend(packet("m1004,4").bytes());
    assert_eq!(session.attend(Why::Interrupt, &mut machine, &mut cable), Outcome::Abandoned);
    let text = String::from_utf8(cable.received).unwrap();
    assert_eq!(text, format!("-+{}", packet("04050607")));
}

#[test]
fn a_kill_and_an_interrupt_while_stopped_are_understood() {
    let mut machine = Fake::new();
    assert_eq!(stop(&mut Session::new(), &mut machine, Why::Interrupt, &["k"]).0, Outcome::Killed);
    let mut cable = Cable::default();
    cable.sent.extend([3]);
    cable.sent.extend(packet("m1000,1").bytes());
    assert_eq!(Session::new().attend(Why::Interrupt, &mut machine, &mut cable), Outcome::Abandoned);
    assert!(cable.received.ends_with(packet("00").as_bytes()));
}

proptest! {
    #[test]
    fn whatever_arrives_is_survived(octets in prop::collection::vec(any::<u8>(), 0..300), stops in 1_usize..4) {
        let (mut session, mut machine) = (Session::new(), Fake::new());
        for _ in 0..stops {
            let mut cable = Cable { sent: octets.iter().copied().collect(), received: Vec::new() };
            session.attend(Why::Breakpoint, &mut machine, &mut cable);
        }
    }

    #[test]
    fn whatever_a_packet_says_is_survived(texts in prop::collection::vec("[a-zA-Z?]{1,4}[0-9a-fx,:;.p-]{0,40}", 1..12)) {
        let (mut session, mut machine) = (Session::new(), Fake::new());
        let packets: Vec<&str> = texts.iter().map(String::as_str).collect();
        for _ in 0..2 {
            stop(&mut session, &mut machine, Why::Step, &packets);
        }
    }
}
