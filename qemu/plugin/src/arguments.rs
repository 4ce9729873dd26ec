//! What QEMU hands over when it loads the plugin: [`Arguments`], and whether the two go together.

/// The arguments behind the plugin's file name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The unix socket on which somebody listens.
    pub(crate) socket: String,
    /// Whether accesses to device registers are counted.
    pub(crate) registers: bool,
}

impl Arguments {
    /// Reads `NAME=VALUE` each.
    ///
    /// # Errors
    /// When one is unknown or the socket is missing; with what to say.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut arguments = Self::default();
        for word in words {
            match word.split_once('=') {
                Some(("socket", path)) => path.clone_into(&mut arguments.socket),
                Some(("registers", "on")) => arguments.registers = true,
                Some(("registers", "off")) => arguments.registers = false,
                _ => return Err(format!("unknown argument {word:?}")),
            }
        }
        if arguments.socket.is_empty() { Err("the argument socket=PATH is missing".into()) } else { Ok(arguments) }
    }
}

/// Checks that a QEMU which serves versions `oldest` to `newest` of the plugin interface serves `ours`.
///
/// # Errors
/// With what to say.
pub(crate) fn check_version(ours: i32, oldest: i32, newest: i32) -> Result<(), String> {
    if (oldest..=newest).contains(&ours) {
        return Ok(());
    }
    Err(format!("this QEMU serves versions {oldest} to {newest} of the plugin interface, and the plugin needs {ours}"))
}

/// Checks that it is a machine which QEMU emulates, and one that we know.
///
/// # Errors
/// With what to say.
pub(crate) fn check_target(target: &str, is_system: bool) -> Result<(), String> {
    match (target, is_system) {
        ("x86_64", true) => Ok(()),
        (_, true) => Err(format!("the plugin counts for x86_64, not {target}")),
        (_, false) => Err("the plugin counts for machines, not for a process".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_any_order_and_unknown_ones_refused() {
        let wanted = Arguments { socket: "a=b".into(), registers: true };
        assert_eq!(Arguments::parse(["registers=on", "socket=a=b"]), Ok(wanted));
        assert!(!Arguments::parse(["socket=x"]).unwrap().registers);
        for words in [&["socket"][..], &["registers=on"], &["socket=x", "registers=maybe"], &["socket=x", "more=1"]] {
            assert!(Arguments::parse(words.iter().copied()).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_qemu_with_another_interface_is_refused_with_both_versions() {
        assert_eq!(check_version(1, 0, 1), Ok(()));
        let newer = check_version(1, 2, 4).unwrap_err();
        assert!(newer.contains("2 to 4") && newer.contains("needs 1"), "{newer}");
        assert!(check_version(1, 0, 0).is_err());
    }

    #[test]
    fn other_machines_and_processes_are_refused() {
        assert_eq!(check_target("x86_64", true), Ok(()));
        assert!(check_target("riscv64", true).unwrap_err().contains("riscv64"));
        assert!(check_target("x86_64", false).is_err());
    }
}
