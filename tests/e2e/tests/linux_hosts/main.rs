//! The router between two Linux hosts with Linux's own tools: ping, traceroute, tracepath and iperf3 over TCP and UDP.
//!
//! Each host is a network namespace with one tap interface; QEMU runs in a third, so that nothing of the machine's own
//! network is touched. All goes when the test ends, however it ends. Where namespaces or taps cannot be made, the tests
//! are reported as ignored, with the reason. One router serves all tests, one after the other.

mod hosts;
mod tools;

use std::process::ExitCode;

use e2e::Router;
use hosts::Hosts;
use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};
use sluice::{prepare, progress::Progress};
use std::sync::{Arc, Mutex, PoisonError};

/// The router between its hosts, or why there is none.
pub(crate) struct Site {
    router: Router,
    hosts: Hosts,
}

enum State {
    Untried,
    Ready(Box<Site>),
    Skipped(String),
    Failed(String),
}

type Shared = Arc<Mutex<State>>;

/// The programs of the hosts, and Debian's packages of them.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("tracepath", "iputils-tracepath"),
    ("traceroute", "traceroute"),
    ("iperf3", "iperf3"),
    ("nsenter", "util-linux"),
];

type Test = fn(&mut Site) -> anyhow::Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("linux_pings_through_the_router_without_loss", tools::pings),
    ("linux_pings_of_any_size_are_fragmented_and_answered", tools::long_pings),
    ("linux_traces_the_route_through_the_router", tools::traceroutes),
    ("linux_discovers_the_path_mtu", tools::path_mtu),
    ("linux_transfers_over_tcp_both_ways", tools::tcp),
    ("linux_transfers_over_udp_both_ways", tools::udp),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let shared: Shared = Arc::new(Mutex::new(State::Untried));
    let mut trials: Vec<Trial> = TESTS
        .iter()
        .map(|(name, test)| {
            let (shared, test) = (Arc::clone(&shared), *test);
            Trial::ignorable_test(*name, move || on_site(&shared, test))
        })
        .collect();
    let last = Arc::clone(&shared);
    trials.push(Trial::ignorable_test("the_router_goes_down_in_order_after_all_that", move || leave(&last)));
    let conclusion: Conclusion = libtest_mimic::run(&arguments, trials);
    // What a filter left running goes here.
    drop(std::mem::replace(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner), State::Untried));
    conclusion.exit_code()
}

/// Runs a test on the site, which the first one sets up.
fn on_site(shared: &Shared, test: Test) -> Result<Completion, Failed> {
    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*state, State::Untried) {
        *state = set_up();
    }
    match &mut *state {
        State::Ready(site) => test(site).map(|()| Completion::Completed).map_err(failed),
        State::Skipped(why) => Ok(skipped(why)),
        State::Failed(why) => Err(Failed::from(why.clone())),
        State::Untried => Err(Failed::from("the site was not set up")),
    }
}

/// Balances the books and switches the router off, if it ran.
fn leave(shared: &Shared) -> Result<Completion, Failed> {
    let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *state, State::Skipped("the router is off".to_owned())) {
        State::Ready(site) => {
            let Site { router, hosts } = *site;
            let result = router.finish().map_err(failed);
            drop(hosts);
            result.map(|()| Completion::Completed)
        }
        State::Failed(why) => Err(Failed::from(why)),
        State::Skipped(why) => Ok(skipped(&why)),
        State::Untried => Ok(Completion::ignored_with("no test needed the router")),
    }
}

fn set_up() -> State {
    if let Err(why) = prepare::for_real_hosts(PROGRAMS, Progress::new()) {
        return State::Skipped(format!("{why:#}"));
    }
    let hosts = match Hosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return State::Skipped(format!("network namespaces or taps cannot be made here: {why:#}")),
    };
    match hosts.boot_router() {
        Ok(router) => State::Ready(Box::new(Site { router, hosts })),
        Err(why) => State::Failed(format!("{why:#}")),
    }
}

fn skipped(why: &str) -> Completion {
    eprintln!("skipped: {why}");
    Completion::ignored_with(why)
}

fn failed(error: anyhow::Error) -> Failed {
    Failed::from(format!("{error:#}"))
}
