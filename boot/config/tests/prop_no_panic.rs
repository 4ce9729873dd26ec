//! No input makes the parser panic, and what it accepts keeps the promises of [`config::Config`].

use config::{Config, MAX_MTU, MIN_MTU, RouteTarget};
use proptest::{collection::vec, prelude::*};

/// Pieces that configurations are made of, whole and broken.
const PIECES: &[&str] = &[
    "[[interface]]\n",
    "[[route]]\n",
    "[sysctl]\n",
    "[[sysctl]]\n",
    "name = \"em0\"\n",
    "name = \"em1\"\n",
    "name = \"\"\n",
    "addresses = [\"10.0.0.1/8\"]\n",
    "addresses = [\"10.0.0.1/24\", \"10.0.1.1/24\"]\n",
    "addresses = [\"10.0.2.1/31\"]\n",
    "addresses = [\"1.2.3.4/0\"]\n",
    "addresses = [",
    "mtu = 1400\n",
    "mtu = 9000\n",
    "mtu = 99999999999999999999\n",
    "up = false\n",
    "prefix = \"0.0.0.0/0\"\n",
    "prefix = \"10.0.1.0/24\"\n",
    "via = \"10.0.0.2\"\n",
    "via = \"10.0.2.0\"\n",
    "blackhole = true\n",
    "unreachable = true\n",
    "hostname = \"r1\"\n",
    "\"net.isr.dispatch\" = \"direct\"\n",
    "a = 1\n",
    "\"\"\"",
    "{",
    "}",
    "]",
    "=",
    "\0",
    "\u{feff}",
    "é",
];

/// Checks what a [`Config`] promises in its documentation.
fn keeps_its_promises(config: &Config) {
    for (index, interface) in config.interfaces.iter().enumerate() {
        assert!((MIN_MTU..=MAX_MTU).contains(&interface.mtu));
        for other in &config.interfaces[..index] {
            assert_ne!(interface.name, other.name);
            let disjoint = |a: &wire::Ipv4Cidr| other.addresses.iter().all(|b| !a.prefix().overlaps(b.prefix()));
            assert!(interface.addresses.iter().all(disjoint));
        }
    }
    let connected = config.interfaces.iter().flat_map(|interface| &interface.addresses);
    for (index, route) in config.routes.iter().enumerate() {
        assert!(config.routes[..index].iter().all(|other| other.prefix != route.prefix));
        if let RouteTarget::Via(ip) = route.target {
            assert!(connected.clone().any(|cidr| cidr.prefix().contains(ip)));
            assert!(connected.clone().all(|cidr| cidr.address() != ip));
        }
    }
}

/// Parses without a panic; errors point into the text.
fn survives(text: &str) {
    match Config::parse(text) {
        Ok(config) => keeps_its_promises(&config),
        Err(error) => {
            let lines = text.split('\n').count();
            assert!(error.line >= 1 && error.line as usize <= lines, "{error} of {lines} lines");
            assert!(error.column >= 1 && !error.message.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Config::parse_bytes(&bytes);
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_order_of_the_pieces_never_panics(order in vec(0..PIECES.len(), 0..24)) {
        let text: String = order.into_iter().map(|index| PIECES[index]).collect();
        survives(&text);
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed(depth in 1_usize..20_000, open in "[\\[{]") {
        survives(&format!("hostname = {}", open.repeat(depth)));
    }
}
