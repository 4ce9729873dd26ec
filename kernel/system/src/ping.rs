//! The console's `ping`: echo requests once a second, with the field's output.

use core::{net::Ipv4Addr, time::Duration};

use machine::{
    console::{print, try_read},
    time,
};
use router::{PingRequest, Worker};

use crate::threads;

/// Octets of data in a request, as everybody's ping sends by default.
const BODY: usize = 56;
/// How long a reply is waited for; also the time between two requests.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// Control-C.
const INTERRUPT: u8 = 0x03;

/// Sends `count` echo requests to `target` and prints what comes back; control-C ends it early.
///
/// # Context
/// The console thread; blocks for about a second per request that is not answered.
pub(crate) fn run(worker: &mut Worker, target: Ipv4Addr, count: u32) {
    print(format_args!("PING {target}: {BODY} data bytes\n"));
    let ident = u16::try_from(time::now().as_millis() % 0xfff1).unwrap_or(1);
    let (mut sent, mut received) = (0_u32, 0_u32);
    for sequence in 0..count {
        let sequence = u16::try_from(sequence).unwrap_or(u16::MAX);
        let request = PingRequest { destination: target, ident, sequence, body_len: BODY };
        if let Err(error) = worker.ping_send(time::now(), request) {
            print(format_args!("ping: {target}: {error}\n"));
            return;
        }
        sent += 1;
        match wait(worker, ident, sequence + 1 == u16::try_from(count).unwrap_or(0)) {
            Answer::Yes => received += 1,
            Answer::No => print(format_args!("Request timeout for icmp_seq {sequence}\n")),
            Answer::Stop => break,
        }
    }
    let lost = sent - received;
    print(format_args!(
        "--- {target} ping statistics ---\n{sent} packets transmitted, {received} packets received, {}% packet loss\n",
        lost * 100 / sent.max(1)
    ));
}

enum Answer {
    Yes,
    No,
    Stop,
}

/// Waits out the interval (the last one only until the reply is there).
fn wait(worker: &mut Worker, ident: u16, last: bool) -> Answer {
    let until = time::now() + INTERVAL;
    let mut answer = Answer::No;
    while time::now() < until {
        if try_read() == Some(INTERRUPT) {
            return Answer::Stop;
        }
        if let Some(reply) = worker.router().ping_poll(ident) {
            let micros = reply.round_trip.as_micros();
            print(format_args!(
                "{} bytes from {}: icmp_seq={} ttl={} time={}.{:03} ms\n",
                reply.len,
                reply.from,
                reply.sequence,
                reply.ttl,
                micros / 1000,
                micros % 1000
            ));
            answer = Answer::Yes;
        }
        if last && matches!(answer, Answer::Yes) {
            break;
        }
        threads::sleep(LOOK);
    }
    answer
}
