//! Every rule of the configuration, by what it accepts, what it refuses and where it points.

use config::{Config, DEFAULT_MTU, Problem, RouteTarget, interface_name};

/// The example of the README.
const TWO_NETWORKS: &str = r#"hostname = "r1"
[[interface]]
name = "em0"
addresses = ["10.0.1.1/24"]
[[interface]]
name = "em1"
addresses = ["10.0.2.1/24"]
[[route]]
prefix = "0.0.0.0/0"
via = "10.0.2.2"
[sysctl]
"net.isr.dispatch" = "direct"
"#;

/// Parses `text`, which must be refused, and checks for what and where; returns the message.
fn refused(text: &str, problem: Problem, line: u32, column: u32) -> String {
    let error = Config::parse(text).expect_err(text);
    assert_eq!((error.problem, error.line, error.column), (problem, line, column), "{error}\nin:\n{text}");
    assert!(error.to_string().starts_with(&format!("line {line}, column {column}: ")), "{error}");
    assert!(!error.message.contains('\n'), "{error}");
    error.message
}

/// Makes an interface with the given lines after its name.
fn em0(lines: &str) -> String {
    format!("[[interface]]\nname = \"em0\"\n{lines}\n")
}

#[test]
fn the_example_means_what_it_says() {
    let config = Config::parse(TWO_NETWORKS).unwrap();
    assert_eq!(config.hostname, "r1");
    assert_eq!(config.interfaces.len(), 2);
    assert_eq!(config.interfaces[1].name, "em1");
    assert_eq!(config.interfaces[1].addresses, ["10.0.2.1/24".parse().unwrap()]);
    assert_eq!((config.interfaces[0].mtu, config.interfaces[0].up), (DEFAULT_MTU, true));
    assert_eq!(config.routes[0].target, RouteTarget::Via("10.0.2.2".parse().unwrap()));
    assert_eq!((config.sysctls[0].name.as_str(), config.sysctls[0].value.as_str()), ("net.isr.dispatch", "direct"));
}

#[test]
fn an_empty_file_is_a_router_without_interfaces() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
    assert_eq!(Config::parse_bytes(b"# nothing\n").unwrap(), Config::default());
}

/// What editors on other systems make of a text: a mark at the start, and other ends of lines.
#[test]
fn a_byte_order_mark_and_carriage_returns_mean_nothing() {
    let text = "hostname = \"r1\"\n# a remark\n[[interface]]\nname = \"em0\"\naddresses = [\"10.0.1.1/24\"]\n";
    let edited = format!("\u{FEFF}{}", text.replace('\n', "\r\n"));
    assert_eq!(Config::parse_bytes(edited.as_bytes()), Config::parse(text));
    let wrong = edited.replace("addresses", "adresses");
    let at = Config::parse_bytes(wrong.as_bytes()).unwrap_err();
    assert_eq!((at.line, at.column), (5, 1));
}

#[test]
fn unknown_keys_are_refused_where_they_stand() {
    assert!(refused("hostnam = \"r1\"\n", Problem::Schema, 1, 1).contains("hostnam"));
    assert!(refused(&em0("  adresses = []"), Problem::Schema, 3, 3).contains("adresses"));
    refused("[[route]]\nprefix = \"10.0.0.0/8\"\nmetric = 3\n", Problem::Schema, 3, 1);
}

#[test]
fn broken_toml_and_wrong_types_are_refused_where_they_stand() {
    refused("hostname = \n", Problem::Schema, 1, 12);
    refused("hostname = 7\n", Problem::Schema, 1, 12);
    refused(&em0("addresses = \"10.0.0.1/8\""), Problem::Schema, 3, 13);
    refused("[sysctl]\na.b = 1\n", Problem::Schema, 2, 1);
    refused("[sysctl]\nx = [1]\n", Problem::Schema, 2, 5);
    refused("[[interface]]\nmtu = 1500\n", Problem::Schema, 1, 1);
}

#[test]
fn columns_count_characters_and_not_bytes() {
    refused("# ü\nhostname = \"rüter\"\n", Problem::Hostname, 2, 12);
    refused("sysctl = { ü = 1 } # ü\n", Problem::Schema, 1, 12);
}

#[test]
fn a_hostname_is_one_label() {
    for name in ["", "-r1", "r1-", "r 1", "r1.example", &"r".repeat(64)] {
        refused(&format!("hostname = \"{name}\""), Problem::Hostname, 1, 12);
    }
    assert_eq!(Config::parse("hostname = \"R2-d2\"").unwrap().hostname, "R2-d2");
}

#[test]
fn an_interface_has_a_name_of_its_own() {
    for name in ["", "0em", "em 0", "EM0", "em0/1", "abcdefghijklmnop"] {
        refused(&format!("[[interface]]\nname = \"{name}\"\n"), Problem::InterfaceName, 2, 8);
    }
    let twice = format!("{}{}", em0(""), em0(""));
    assert!(refused(&twice, Problem::DuplicateInterface, 5, 8).contains("line 2"));
}

#[test]
fn the_mtu_is_what_ipv4_and_ethernet_allow() {
    for mtu in ["67", "16111", "-1", "65536"] {
        refused(&em0(&format!("mtu = {mtu}")), Problem::Mtu, 3, 7);
    }
    for mtu in [68, 1400, 1500, 9000, 16_110] {
        assert_eq!(Config::parse(&em0(&format!("mtu = {mtu}"))).unwrap().interfaces[0].mtu, mtu);
    }
    assert!(!Config::parse(&em0("up = false")).unwrap().interfaces[0].up);
}

/// Makes a VLAN interface with the given lines after its name.
fn vlan(name: &str, lines: &str) -> String {
    format!("[[interface]]\nname = \"{name}\"\n{lines}\n")
}

#[test]
fn a_vlan_is_a_number_behind_the_name_of_its_port() {
    let text = [vlan("em0.10", "addresses = [\"10.0.1.1/24\"]"), vlan("em0.4094", "up = false"), vlan("em3.1", "")];
    let config = Config::parse(&text.concat()).unwrap();
    let read = |interface: &config::Interface| interface.vlan.as_ref().map(|vlan| (vlan.port.clone(), vlan.id.get()));
    let vlans: Vec<_> = config.interfaces.iter().filter_map(read).collect();
    assert_eq!(vlans, [("em0".into(), 10), ("em0".into(), 4094), ("em3".into(), 1)]);
    assert!(config.vlans_of("em0").map(wire::VlanId::get).eq([10, 4094]));
    assert_eq!(config.vlans_of("em1").count(), 0);
    for number in ["", "0", "4095", "10000", "-1", "+1", "010", "1.2", "x", " 1"] {
        let message = refused(&vlan(&format!("em0.{number}"), ""), Problem::Vlan, 2, 8);
        assert!(message.contains("1 to 4094"), "{message}");
    }
    for name in [".10", "EM0.10", "em 0.10", "abcdefghijk.4094"] {
        refused(&vlan(name, ""), Problem::InterfaceName, 2, 8);
    }
}

#[test]
fn a_vlan_is_configured_once_and_its_networks_are_its_own() {
    let twice = format!("{}{}", vlan("em0.10", ""), vlan("em0.10", ""));
    assert!(refused(&twice, Problem::DuplicateInterface, 5, 8).contains("line 2"));
    let address = "addresses = [\"10.0.1.1/24\"]";
    let overlapping = format!("{}{}", em0(address), vlan("em0.10", address));
    assert!(refused(&overlapping, Problem::Overlap, 6, 14).contains("of em0"));
    let behind = format!("{}[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.0.1.2\"\n", vlan("em0.10", address));
    assert_eq!(Config::parse(&behind).unwrap().routes.len(), 1);
}

#[test]
fn the_mtu_of_a_vlan_is_at_most_its_ports_wherever_that_stands() {
    let mtus = |text: &str| -> Vec<_> { Config::parse(text).unwrap().interfaces.iter().map(|i| i.mtu).collect() };
    let port = em0("mtu = 1400");
    assert_eq!(mtus(&format!("{port}{}{}", vlan("em0.1", ""), vlan("em0.2", "mtu = 1300"))), [1400, 1400, 1300]);
    assert_eq!(mtus(&format!("{}{port}", vlan("em0.1", "mtu = 1400"))), [1400, 1400]);
    assert_eq!(mtus(&vlan("em0.1", "")), [DEFAULT_MTU]);
    assert_eq!(mtus(&format!("{port}{}", vlan("em1.1", ""))), [1400, DEFAULT_MTU]);
    let message = refused(&format!("{}{port}", vlan("em0.1", "mtu = 1401")), Problem::Mtu, 3, 7);
    assert!(message.contains("em0") && message.contains("1400"), "{message}");
    refused(&format!("{port}{}", vlan("em0.1", "mtu = 1401")), Problem::Mtu, 6, 7);
}

#[test]
fn an_address_is_one_host_with_its_network() {
    let bad = [
        "10.0.0.1",
        "10.0.0.1/",
        "10.0.0.1/33",
        "10.0.0/24",
        "ten/8",
        "10.0.0.0/24",
        "10.0.0.255/24",
        "0.1.2.3/8",
        "127.0.0.1/8",
        "224.0.0.1/4",
        "240.0.0.1/4",
        "10.0.0.1/0",
    ];
    for address in bad {
        refused(&em0(&format!("addresses = [\"{address}\"]")), Problem::Address, 3, 14);
    }
    for address in ["10.0.0.0/31", "10.0.0.1/32", "10.0.0.254/24"] {
        Config::parse(&em0(&format!("addresses = [\"{address}\"]"))).unwrap();
    }
    // The offence is the second address, so that is where the error points.
    refused(&em0("addresses = [\"10.0.0.1/24\", \"10.0.0.255/24\"]"), Problem::Address, 3, 29);
}

#[test]
fn networks_of_two_interfaces_do_not_overlap() {
    let text = TWO_NETWORKS.replace("10.0.2.1/24", "10.0.0.9/16");
    let message = refused(&text, Problem::Overlap, 7, 14);
    assert!(message.contains("10.0.1.0/24 of em0"), "{message}");
}

#[test]
fn one_interface_may_have_two_addresses_in_one_network_but_no_two_sizes_of_it() {
    Config::parse(&em0("addresses = [\"10.0.0.1/24\", \"10.0.0.2/24\"]")).unwrap();
    refused(&em0("addresses = [\"10.0.0.1/24\", \"10.0.0.1/24\"]"), Problem::Overlap, 3, 29);
    refused(&em0("addresses = [\"10.0.0.1/24\", \"10.0.0.2/25\"]"), Problem::Overlap, 3, 29);
}

#[test]
fn a_route_leads_to_a_network() {
    let route = |prefix: &str| format!("[[route]]\nprefix = \"{prefix}\"\nblackhole = true\n");
    for prefix in ["", "10.0.0.0", "10.0.0.0/33", "net/8"] {
        refused(&route(prefix), Problem::Prefix, 2, 10);
    }
    assert!(refused(&route("10.1.2.3/8"), Problem::Prefix, 2, 10).contains("the network is 10.0.0.0/8"));
}

#[test]
fn a_route_does_exactly_one_thing() {
    let route = |lines: &str| format!("[[route]]\nprefix = \"192.0.2.0/24\"\n{lines}\n");
    refused(&route(""), Problem::RouteTarget, 2, 10);
    refused(&route("blackhole = false"), Problem::RouteTarget, 2, 10);
    refused(&route("blackhole = true\nunreachable = true"), Problem::RouteTarget, 2, 10);
    assert_eq!(Config::parse(&route("blackhole = true")).unwrap().routes[0].target, RouteTarget::Blackhole);
    assert_eq!(Config::parse(&route("unreachable = true")).unwrap().routes[0].target, RouteTarget::Unreachable);
}

#[test]
fn the_next_router_is_on_a_connected_network_and_somebody_else() {
    for via in ["nowhere", "192.0.2.1", "10.0.2.1", "10.0.2.0", "10.0.2.255"] {
        refused(&TWO_NETWORKS.replace("10.0.2.2", via), Problem::Via, 10, 7);
    }
}

#[test]
fn two_routes_to_one_network_are_one_too_many() {
    let with = |prefix: &str| format!("{TWO_NETWORKS}[[route]]\nprefix = \"{prefix}\"\nblackhole = true\n");
    assert!(refused(&with("0.0.0.0/0"), Problem::DuplicateRoute, 14, 10).contains("line 9"));
    assert!(refused(&with("10.0.1.0/24"), Problem::DuplicateRoute, 14, 10).contains("em0"));
    Config::parse(&with("10.0.1.0/25")).unwrap();
}

#[test]
fn sysctls_take_texts_numbers_and_truth_values() {
    let config = Config::parse("[sysctl]\n\"b.y\" = 5\n\"a.x\" = true\n\"c.z\" = \"text\"\n").unwrap();
    let pairs: Vec<_> = config.sysctls.iter().map(|s| (s.name.as_str(), s.value.as_str())).collect();
    assert_eq!(pairs, [("a.x", "1"), ("b.y", "5"), ("c.z", "text")]);
    refused("[sysctl]\n\"net isr\" = 1\n", Problem::Sysctl, 2, 1);
    refused("[sysctl]\n\"net..isr\" = 1\n", Problem::Sysctl, 2, 1);
}

#[test]
fn an_interface_the_machine_does_not_have_is_named_with_those_it_has() {
    let config = Config::parse(TWO_NETWORKS).unwrap();
    config.check_interfaces(&[interface_name(0), interface_name(1), interface_name(2)]).unwrap();
    let error = config.check_interfaces(&["em0"]).unwrap_err();
    assert_eq!((error.problem, error.line, error.column), (Problem::NoSuchInterface, 6, 8));
    assert_eq!(error.message, "interface em1 does not exist on this machine (there: em0)");
    // A VLAN needs its port, whether that is configured or not.
    let config = Config::parse(&vlan("em1.10", "")).unwrap();
    config.check_interfaces(&["em0", "em1"]).unwrap();
    let error = config.check_interfaces(&["em0"]).unwrap_err();
    assert_eq!((error.problem, error.line, error.column), (Problem::NoSuchInterface, 2, 8));
    assert_eq!(error.message, "interface em1 does not exist on this machine (there: em0)");
}

#[test]
fn a_sysctl_the_kernel_refuses_is_named_with_its_reason() {
    let config = Config::parse(TWO_NETWORKS).unwrap();
    config.check_sysctls(|_, _| Ok(())).unwrap();
    let error = config.check_sysctls(|name, value| Err(format!("{name} is not {value}"))).unwrap_err();
    assert_eq!((error.problem, error.line, error.column), (Problem::Sysctl, 12, 22));
    assert_eq!(error.message, "sysctl net.isr.dispatch: net.isr.dispatch is not direct");
}

#[test]
fn bytes_that_are_not_text_are_refused_where_they_begin() {
    let error = Config::parse_bytes(b"# ok\n# \xff\n").unwrap_err();
    assert_eq!((error.problem, error.line, error.column), (Problem::NotText, 2, 3));
}

#[test]
fn a_text_beyond_the_limit_is_refused() {
    let error = Config::parse(&"#".repeat(config::MAX_BYTES + 1)).unwrap_err();
    assert_eq!(error.problem, Problem::TooLong);
}

#[test]
fn a_file_of_many_routes_is_read_in_no_time() {
    let mut text = TWO_NETWORKS.replace("[sysctl]\n\"net.isr.dispatch\" = \"direct\"\n", "");
    for index in 0..12_000_u32 {
        let [_, _, high, low] = index.to_be_bytes();
        text += &format!("[[route]]\nprefix = \"172.16.{high}.{low}/32\"\nvia = \"10.0.2.2\"\n");
    }
    let start = std::time::Instant::now();
    assert_eq!(Config::parse(&text).unwrap().routes.len(), 12_001);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
