//! The slow path of packets with IPv4 options (RFC 1812 5.3.13). Any context.

use ifnet::DropReason;
use wire::{IPV4_HEADER_LEN, options};

use crate::{IcmpErrorKind, Verdict};

/// Judges the options of a packet: `None` lets it pass.
///
/// Unknown options are ignored and stay in the packet (RFC 1812 5.3.13.1), router alert among them. Source routes are refused
/// (5.3.13.4 and RFC 7126 4.3.5, 4.4.5), malformed options reported with a pointer to the octet that is wrong.
#[cold]
pub(crate) fn judge(bytes: &[u8]) -> Option<Verdict> {
    for option in options::walk(bytes) {
        match option {
            Err(bad) => {
                let pointer = u8::try_from(IPV4_HEADER_LEN + bad.at).unwrap_or(u8::MAX);
                let kind = IcmpErrorKind::ParameterProblem { pointer };
                return Some(Verdict::IcmpError { kind, reason: DropReason::Ip4BadOption });
            }
            Ok(option) if matches!(option.kind, options::LOOSE_SOURCE_ROUTE | options::STRICT_SOURCE_ROUTE) => {
                let kind = IcmpErrorKind::SourceRouteFailed;
                return Some(Verdict::IcmpError { kind, reason: DropReason::Ip4SourceRoute });
            }
            Ok(_) => {}
        }
    }
    None
}
