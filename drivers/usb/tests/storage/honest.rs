//! A stick that keeps to the rules.

use usb::{BLOCK, Disk, Error, bulk_only::Transport};

use crate::model::{Lie, Stick};

#[test]
fn what_is_written_is_read_again_and_only_there() {
    let mut stick = Stick::new(300);
    let mut disk = Disk::open(Transport::new(&mut stick), 0).unwrap();
    assert_eq!((disk.blocks(), disk.identity().to_string()), (300, "ACME Stick?of wood".to_owned()));
    // More than one command moves.
    let text: Vec<u8> = (0..150 * BLOCK).map(|at| u8::try_from(at % 251).unwrap()).collect();
    disk.write(100, &text).unwrap();
    disk.flush().unwrap();
    let mut back = vec![0; 152 * BLOCK];
    disk.read(99, &mut back).unwrap();
    assert!(back[..BLOCK].iter().chain(&back[151 * BLOCK..]).all(|octet| *octet == 0));
    assert_eq!(back[BLOCK..151 * BLOCK], text);
    assert_eq!(stick.flushes, 1);
    assert_eq!(stick.resets, 0);
}

#[test]
fn what_lies_behind_the_end_is_not_asked_for() {
    let mut stick = Stick::new(128);
    let mut disk = Disk::open(Transport::new(&mut stick), 0).unwrap();
    let mut two = [0; 2 * BLOCK];
    for first in [127, 128, u32::MAX] {
        assert_eq!(disk.read(first, &mut two), Err(Error::OutOfRange));
        assert_eq!(disk.write(first, &two), Err(Error::OutOfRange));
    }
    assert_eq!(disk.read(0, &mut two[1..]), Err(Error::OutOfRange), "no whole blocks");
    disk.read(126, &mut two).unwrap();
    assert_eq!(stick.commands.iter().filter(|command| matches!(command, 0x28 | 0x2A)).count(), 1);
}

#[test]
fn a_stick_may_take_its_time_and_halt_where_it_is_allowed_to() {
    for halts_on_failure in [false, true] {
        let mut stick = Stick::new(128);
        (stick.sleepy, stick.halts_on_failure, stick.halts_before_status) = (10, halts_on_failure, true);
        let mut disk = Disk::open(Transport::new(&mut stick), 0).unwrap();
        disk.write(1, &[7; BLOCK]).unwrap();
        assert!((1000..6000).contains(&stick.paused), "{} ms", stick.paused);
        assert_eq!(stick.resets, 0, "that is no reason for a reset");
    }
}

#[test]
fn a_stick_that_does_not_know_how_to_flush_has_nothing_to_flush() {
    let mut stick = Stick::that(Lie::NoFlush);
    Disk::open(Transport::new(&mut stick), 0).unwrap().flush().unwrap();
    assert_eq!(Transport::new(&mut stick).last_unit(), Ok(1));
}

#[test]
fn a_write_protected_stick_says_so() {
    let mut stick = Stick::that(Lie::Protected);
    let mut disk = Disk::open(Transport::new(&mut stick), 0).unwrap();
    let error = disk.write(0, &[0; BLOCK]).unwrap_err();
    assert_eq!(error.to_string(), "write-protected (sense 7/27/00)");
    let mut block = [0; BLOCK];
    disk.read(0, &mut block).unwrap();
}
