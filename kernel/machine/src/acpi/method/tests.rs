//! Methods assembled by hand, whole and damaged.

extern crate std;
use std::{string::ToString, vec, vec::Vec};

use super::{MethodError, Value, evaluate};

fn run(code: &[u8]) -> Result<Value, MethodError> {
    evaluate(code, &mut |name| (name == "PICF").then_some(Value::Integer(1)))
}

fn block(opcode: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len() + 1).unwrap();
    let mut code = vec![opcode];
    if length < 0x40 {
        code.push(length);
    } else {
        let length = length + 1;
        code.extend([0x40 | (length & 0x0F), length >> 4]);
    }
    code.extend(body);
    code
}

/// Fills a package of eight lines in a loop, each `{ device << 16 | 0xFFFF, pin, link, 0 }`, as boards do.
fn table() -> Vec<u8> {
    let line = block(0x12, &[4, 0, 0, b'L', b'N', b'K', b'A', 0]);
    let other = block(0x12, &[4, 0, 0, b'L', b'N', b'K', b'B', 0]);
    let mut body = vec![0x95, 0x61, 0x0A, 8]; // while Local1 < 8
    body.extend([0x70, 0x7A, 0x61, 0x0A, 2, 0x00, 0x62]); // Local2 = Local1 >> 2
    body.extend(block(0xA0, &[&[0x93, 0x62, 0x00, 0x70][..], &line, &[0x64]].concat()));
    body.extend(block(0xA1, &[&[0x70][..], &other, &[0x64]].concat()));
    body.extend([0x70, 0x7D, 0x79, 0x62, 0x0A, 16, 0x00, 0x0B, 0xFF, 0xFF, 0x00, 0x88, 0x64, 0x00, 0x00]);
    body.extend([0x70, 0x7B, 0x61, 0x0A, 3, 0x00, 0x88, 0x64, 0x01, 0x00]); // Local4[1] = Local1 & 3
    body.extend([0x70, 0x64, 0x88, 0x60, 0x61, 0x00]); // Local0[Local1] = Local4
    body.extend([0x75, 0x61]);
    let mut code = vec![0x70, 0x12, 2, 8, 0x60, 0x70, 0x00, 0x61];
    code.extend(block(0xA2, &body));
    code.extend([0xA4, 0x60]);
    code
}

#[test]
fn a_table_filled_in_a_loop_has_every_line() {
    let Value::Package(lines) = run(&table()).unwrap() else { panic!("no package") };
    let line = |device: u64, pin: u64, link: &str| {
        let address = Value::Integer(device << 16 | 0xFFFF);
        Value::Package(vec![address, Value::Integer(pin), Value::Name(link.to_string()), Value::Integer(0)])
    };
    assert_eq!(lines.len(), 8);
    assert_eq!((&lines[3], &lines[6]), (&line(0, 3, "LNKA"), &line(1, 2, "LNKB")));
}

#[test]
fn if_and_else_follow_a_named_value() {
    let code = [&block(0xA0, b"PICF\xA4\x0A\x07")[..], &block(0xA1, &[0xA4, 0x0A, 8])].concat();
    assert_eq!(run(&code), Ok(Value::Integer(7)));
    let code = [&block(0xA0, b"\x92PICF\xA4\x0A\x07")[..], &block(0xA1, &[0xA4, 0x0A, 8])].concat();
    assert_eq!(run(&code), Ok(Value::Integer(8)));
}

/// Local0[0] = Local0, Local0[1] = Local0.
const SELF_STORES: [u8; 12] = [0x70, 0x60, 0x88, 0x60, 0x00, 0x00, 0x70, 0x60, 0x88, 0x60, 0x01, 0x00];

#[test]
fn a_loop_without_end_is_too_long() {
    assert_eq!(run(&block(0xA2, &[0x01, 0xA3])), Err(MethodError::TooLong));
    let doubling = [&[0x70, 0x12, 4, 2, 0, 0, 0x60][..], &block(0xA2, &[&[0x01][..], &SELF_STORES].concat())].concat();
    assert_eq!(run(&doubling), Err(MethodError::TooLong));
    let deep = (0..60).fold(vec![0xA4, 0x00], |inner, _| block(0xA0, &[&[0x01][..], &inner].concat()));
    assert_eq!(run(&deep), Err(MethodError::TooLong));
}

#[test]
fn what_it_does_not_know_it_refuses() {
    assert_eq!(run(&[0x5B, 0x22, 0x01]), Err(MethodError::Unsupported { opcode: 0x5B }));
    assert_eq!(run(b"\xA4FOO_"), Err(MethodError::Unresolved));
    assert_eq!(run(&[0x70, 0x00, 0x88, 0x60, 0x00, 0x00]), Err(MethodError::WrongType));
    assert_eq!(run(&[0x70, 0x12, 2, 1, 0x60, 0x70, 0x00, 0x88, 0x60, 0x01, 0x00]), Err(MethodError::OutOfBounds));
}

#[test]
fn damaged_bytes_are_errors_never_panics() {
    let whole = table();
    for length in 0..whole.len() {
        let _ = run(&whole[..length]);
    }
    let mut seed = 0x2545_F491u32;
    for _ in 0..20_000 {
        let mut code = whole.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % code.len();
            code[at] = seed as u8;
        }
        let _ = run(&code);
    }
}
