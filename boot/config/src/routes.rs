//! Many static routes in a file of their own: as people write them ([`parse`]), and packed into the image ([`attach`], [`split`]).
//!
//! A configuration holds routes as well, but a million of them would be a text that the firmware reads for minutes. Here a line is
//! `PREFIX via ADDRESS`, `PREFIX blackhole` or `PREFIX unreachable`, with comments behind `#`; packed, a route takes three to
//! five octets: sorted, each prefix as its distance from the one before, its target as a number in a list.
//!
//! The packed routes stand behind something else: behind the configuration on their way to the image, and there behind the kernel, as the
//! configuration stays a text. A footer follows: their length (32 bits), a checksum (64 bits, FNV-1a) and eight octets to recognise it by.
//! Allocates; thread context.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::Ipv4Addr;

use wire::Ipv4Prefix;

use crate::RouteTarget;

const FOOTER_MAGIC: &[u8; 8] = b"\xFFSLROU1\xFF";
const FOOTER_SIZE: usize = 4 + 8 + FOOTER_MAGIC.len();

/// How a target begins when it is packed; four octets of an address follow the first.
const VIA: u8 = 0;
const BLACKHOLE: u8 = 1;
const UNREACHABLE: u8 = 2;

/// Packed routes that are not as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRoutes;

/// A file taken apart: the configuration or whatever else precedes, and the routes behind it if there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What precedes the routes.
    pub configuration: &'a [u8],
    /// The routes.
    pub routes: Packed<'a>,
}

/// Packed routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed<'a>(&'a [u8]);

/// Reads a file of routes, one a line.
///
/// # Errors
/// With the number of the line and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<(Ipv4Prefix, RouteTarget)>, String> {
    let mut routes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(prefix) = words.next() else { continue };
        let at = |why: String| format!("line {}: {why}", index + 1);
        let prefix: Ipv4Prefix = prefix.parse().map_err(|error| at(format!("{prefix}: {error}")))?;
        let target = match (words.next(), words.next(), words.next()) {
            (Some("via"), Some(gateway), None) => {
                let gateway = gateway.parse().map_err(|_| at(format!("{gateway} is no address")))?;
                RouteTarget::Via(gateway)
            }
            (Some("blackhole"), None, None) => RouteTarget::Blackhole,
            (Some("unreachable"), None, None) => RouteTarget::Unreachable,
            _ => return Err(at("expected PREFIX via ADDRESS, PREFIX blackhole or PREFIX unreachable".to_string())),
        };
        routes.push((prefix, target));
    }
    Ok(routes)
}

/// Puts packed routes behind a configuration. Of several for one prefix the last one counts.
#[must_use]
pub fn attach(configuration: &[u8], routes: &[(Ipv4Prefix, RouteTarget)]) -> Vec<u8> {
    let routes = pack(routes);
    let mut file = configuration.to_vec();
    file.extend_from_slice(&routes);
    // An image of 4 GiB of routes could not be loaded anyway; cut short, it would be refused by its checksum.
    file.extend_from_slice(&u32::try_from(routes.len()).unwrap_or(u32::MAX).to_le_bytes());
    file.extend_from_slice(&checksum(&routes).to_le_bytes());
    file.extend_from_slice(FOOTER_MAGIC);
    file
}

/// Takes a file apart. One without a footer is a configuration and nothing else.
///
/// # Errors
/// [`DamagedRoutes`] when there are routes that are not as they were written.
pub fn split(file: &[u8]) -> Result<Parts<'_>, DamagedRoutes> {
    let whole = Parts { configuration: file, routes: Packed(&[]) };
    let Some((content, footer)) = file.len().checked_sub(FOOTER_SIZE).and_then(|at| file.split_at_checked(at)) else {
        return Ok(whole);
    };
    let Some(numbers) = footer.strip_suffix(FOOTER_MAGIC) else { return Ok(whole) };
    let (length, sum) = numbers.split_first_chunk::<4>().ok_or(DamagedRoutes)?;
    let length = u32::from_le_bytes(*length) as usize;
    let start = content.len().checked_sub(length).ok_or(DamagedRoutes)?;
    let (configuration, routes) = content.split_at_checked(start).ok_or(DamagedRoutes)?;
    if checksum(routes).to_le_bytes() != sum {
        return Err(DamagedRoutes);
    }
    Ok(Parts { configuration, routes: Packed(routes) })
}

/// Source: the FNV-1a hash of 64 bits, by Fowler, Noll and Vo.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, octet| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3))
}

fn pack(routes: &[(Ipv4Prefix, RouteTarget)]) -> Vec<u8> {
    let sorted: BTreeMap<Ipv4Prefix, RouteTarget> = routes.iter().copied().collect();
    let mut places = BTreeMap::new();
    let mut targets = Vec::new();
    for target in sorted.values() {
        let next = places.len() as u64;
        places.entry(packed_target(*target)).or_insert_with_key(|target| {
            targets.extend_from_slice(target);
            next
        });
    }
    let mut out = Vec::with_capacity(sorted.len() * 4 + targets.len());
    put(&mut out, places.len() as u64);
    out.extend_from_slice(&targets);
    put(&mut out, sorted.len() as u64);
    let mut before = 0;
    for (prefix, target) in sorted {
        let address = u32::from(prefix.addr());
        out.push(prefix.len());
        put(&mut out, u64::from(shifted(address, prefix.len()) - shifted(before, prefix.len())));
        put(&mut out, places.get(&packed_target(target)).copied().unwrap_or(0));
        before = address;
    }
    out
}

/// Returns the bits of an address that a prefix of this length has.
fn shifted(address: u32, len: u8) -> u32 {
    address.checked_shr(32 - u32::from(len)).unwrap_or(0)
}

fn packed_target(target: RouteTarget) -> [u8; 5] {
    match target {
        RouteTarget::Via(gateway) => {
            let [a, b, c, d] = gateway.octets();
            [VIA, a, b, c, d]
        }
        RouteTarget::Blackhole => [BLACKHOLE, 0, 0, 0, 0],
        RouteTarget::Unreachable => [UNREACHABLE, 0, 0, 0, 0],
    }
}

/// Writes a number, seven bits an octet, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Reads a number that [`put`] wrote.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (octet, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(octet & 0x7F) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

impl<'a> Packed<'a> {
    /// Goes through the routes in the order of their prefixes. What is not as it was written ends them with an error.
    pub fn iter(self) -> impl Iterator<Item = Result<(Ipv4Prefix, RouteTarget), DamagedRoutes>> + 'a {
        let mut routes = Routes::begin(self.0);
        let mut is_over = false;
        core::iter::from_fn(move || {
            let next = if is_over { None } else { routes.as_mut().map_or(Some(Err(DamagedRoutes)), Routes::next) };
            is_over = !matches!(next, Some(Ok(_)));
            next
        })
    }
}

/// The way through packed routes.
struct Routes<'a> {
    targets: &'a [u8],
    rest: &'a [u8],
    left: u64,
    before: u32,
}

impl<'a> Routes<'a> {
    fn begin(bytes: &'a [u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self { targets: &[], rest: &[], left: 0, before: 0 });
        }
        let mut rest = bytes;
        let count = usize::try_from(take(&mut rest)?).ok()?;
        let (targets, mut rest) = rest.split_at_checked(count.checked_mul(5)?)?;
        let left = take(&mut rest)?;
        Some(Self { targets, rest, left, before: 0 })
    }

    fn next(&mut self) -> Option<Result<(Ipv4Prefix, RouteTarget), DamagedRoutes>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.take().ok_or(DamagedRoutes))
    }

    fn take(&mut self) -> Option<(Ipv4Prefix, RouteTarget)> {
        let (&len, rest) = self.rest.split_first()?;
        self.rest = rest;
        let distance = u32::try_from(take(&mut self.rest)?).ok()?;
        let bits = shifted(self.before, len.min(32)).checked_add(distance)?;
        let shift = 32_u32.checked_sub(u32::from(len))?;
        let address = u32::try_from(u64::from(bits) << shift).ok()?;
        let prefix = Ipv4Prefix::new(Ipv4Addr::from(address), len).ok()?;
        self.before = address;
        let place = usize::try_from(take(&mut self.rest)?).ok()?;
        let (kind, gateway) = self.targets.get(place.checked_mul(5)?..)?.split_first()?;
        let target = match *kind {
            VIA => RouteTarget::Via(Ipv4Addr::from(*gateway.first_chunk::<4>()?)),
            BLACKHOLE => RouteTarget::Blackhole,
            UNREACHABLE => RouteTarget::Unreachable,
            _ => return None,
        };
        Some((prefix, target))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn unpacked(file: &[u8]) -> Result<Vec<(Ipv4Prefix, RouteTarget)>, DamagedRoutes> {
        split(file)?.routes.iter().collect()
    }

    #[test]
    fn a_file_is_read_line_by_line() {
        let text = "# a table\n10.0.0.0/8 via 10.0.1.2\n\n 0.0.0.0/0  blackhole # none\n10.1.0.0/16 unreachable\n";
        let gateway = RouteTarget::Via(Ipv4Addr::new(10, 0, 1, 2));
        let wanted =
            [("10.0.0.0/8", gateway), ("0.0.0.0/0", RouteTarget::Blackhole), ("10.1.0.0/16", RouteTarget::Unreachable)];
        let wanted: Vec<_> = wanted.iter().map(|(prefix, target)| (prefix.parse().unwrap(), *target)).collect();
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_route_is_named_by_its_line() {
        for line in
            ["10.0.0.0", "10.0.0.1/8 blackhole", "10.0.0.0/8 via", "10.0.0.0/8 via x", "10.0.0.0/8 blackhole 1", "x"]
        {
            let error = parse(&format!("# first\n{line}\n")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{line}: {error}");
        }
    }

    #[test]
    fn a_configuration_alone_has_no_routes() {
        for file in [&b""[..], b"hostname = \"r1\"\n"] {
            assert_eq!(split(file), Ok(Parts { configuration: file, routes: Packed(&[]) }));
            assert_eq!(unpacked(file), Ok(vec![]));
        }
    }

    #[test]
    fn damage_to_any_octet_of_the_routes_is_noticed() {
        let routes = parse("10.0.0.0/8 via 10.0.1.2\n10.1.0.0/16 blackhole\n").unwrap();
        let file = attach(b"text", &routes);
        for at in 4..file.len() - FOOTER_MAGIC.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert_eq!(split(&damaged), Err(DamagedRoutes), "octet {at}");
        }
    }

    #[test]
    fn a_table_of_the_internets_density_takes_under_five_octets_a_route() {
        let routes: Vec<_> = (0..10_000_u32)
            .map(|index| {
                let prefix = Ipv4Prefix::containing(Ipv4Addr::from(index.wrapping_mul(14 << 8)), 24);
                (prefix, RouteTarget::Via(Ipv4Addr::from(0x0A00_0102 + index % 500)))
            })
            .collect();
        assert!(attach(b"", &routes).len() < 5 * routes.len());
    }

    proptest! {
        #[test]
        fn routes_are_unpacked_as_they_were_packed(
            routes in prop::collection::vec((any::<u32>(), 0_u8..=32, 0_u32..4), 0..200),
            text in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let target = |number: u32| match number {
                0 => RouteTarget::Blackhole,
                1 => RouteTarget::Unreachable,
                number => RouteTarget::Via(Ipv4Addr::from(0x0A00_0100 + number)),
            };
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(address, len, number)| (Ipv4Prefix::containing(Ipv4Addr::from(address), len), target(number)))
                .collect();
            let file = attach(&text, &routes);
            let sorted: BTreeMap<Ipv4Prefix, RouteTarget> = routes.iter().copied().collect();
            assert_eq!(split(&file).unwrap().configuration, &text[..]);
            assert_eq!(unpacked(&file).unwrap(), sorted.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn no_octets_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = split(&bytes);
            assert!(Packed(&bytes).iter().take(1000).count() <= 1000);
        }
    }
}
