//! Protocol numbers of the IPv4 header, as assigned by IANA. Plain data.

/// ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// IGMP (RFC 1112).
pub const IGMP: u8 = 2;
/// TCP (RFC 9293).
pub const TCP: u8 = 6;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
