//! Sticks that lie: each lie has its error, in a bounded number of calls, and a stick that stops lying is used again.

use usb::{BLOCK, Disk, Error, Sense, bulk_only::Transport};

use crate::model::{Lie, Stick};

/// Calls that opening, or one command, takes at most, whatever the device does.
const MOST_CALLS: usize = 1000;

fn opening(lie: Lie) -> Error {
    let mut stick = Stick::that(lie);
    let error = Disk::open(Transport::new(&mut stick), 0).map(drop).unwrap_err();
    assert!(stick.calls < MOST_CALLS && stick.paused < 10_000, "{lie:?}: {} calls, {} ms", stick.calls, stick.paused);
    error
}

#[test]
fn each_lie_at_the_beginning_has_its_error() {
    let cases = [
        (Lie::ShortStatus, Error::ShortStatus),
        (Lie::BadSignature, Error::BadSignature),
        (Lie::WrongTag, Error::WrongTag),
        (Lie::BadOutcome, Error::BadStatus),
        (Lie::HugeResidue, Error::BadStatus),
        (Lie::Phase, Error::Phase),
        (Lie::RefusesCommands, Error::Stalled),
        (Lie::RefusesStatus, Error::Stalled),
        (Lie::NoMedium, Error::NoMedium),
        (Lie::NeverReady, Error::NotReady(Sense { key: 2, code: 4, qualifier: 1 })),
        (Lie::NoSense, Error::Sense(Sense::default())),
        (Lie::Scanner, Error::BadDescriptor),
        (Lie::Silent, Error::TransferTimeout),
        (Lie::BlockSize(0), Error::BlockSize(0)),
        (Lie::BlockSize(4096), Error::BlockSize(4096)),
        (Lie::BlockSize(u32::MAX), Error::BlockSize(u32::MAX)),
        (Lie::LastBlock(0), Error::Capacity),
        (Lie::LastBlock(u32::MAX), Error::Capacity),
    ];
    for (lie, error) in cases {
        assert_eq!(opening(lie), error, "{lie:?}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn half_the_data_is_not_taken_for_the_whole() {
    let mut stick = Stick::that(Lie::HalfTheData);
    let mut disk = Disk::open(Transport::new(&mut stick), 0).unwrap();
    assert_eq!(disk.read(0, &mut [0; 4 * BLOCK]), Err(Error::ShortTransfer));
}

#[test]
fn a_stick_that_stops_lying_is_used_again() {
    let lies = [Lie::ShortStatus, Lie::BadSignature, Lie::WrongTag, Lie::Phase, Lie::HugeResidue, Lie::RefusesStatus];
    for lie in lies {
        let mut stick = Stick::new(128);
        Disk::open(Transport::new(&mut stick), 0).unwrap();
        stick.lie = lie;
        let mut transport = Transport::new(&mut stick);
        let outcome = transport.command(0, &[0; 6], usb::bulk_only::Data::None);
        assert!(outcome.is_err(), "{lie:?}: {outcome:?}");
        assert_eq!(stick.resets, 1, "{lie:?}: it was reset");
        stick.lie = Lie::None;
        let mut disk = Disk::open(Transport::new(&mut stick), 0).unwrap();
        disk.write(5, &[9; BLOCK]).unwrap();
        assert_eq!(stick.blocks[5 * BLOCK], 9);
    }
}
