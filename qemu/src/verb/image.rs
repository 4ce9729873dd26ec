//! `image`: writes a bootable raw disk image that carries a configuration.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use config::Config;
use sluice::{build::Builder, progress::Progress, workspace::Workspace};

/// What `image` takes.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The configuration
    #[arg(long, value_name = "FILE", required_unless_present = "selftest")]
    config: Option<PathBuf>,
    /// The router tests its machine when it boots, and says what came of it; a configuration is not needed
    #[arg(long)]
    selftest: bool,
    /// Further static routes, a line each: PREFIX via ADDRESS, PREFIX blackhole or PREFIX unreachable
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Where the image is written
    #[arg(long, value_name = "IMG")]
    out: PathBuf,
}

/// Writes the image.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let progress = Progress::new();
    let configuration = match &arguments.config {
        Some(path) => super::read_config(path)?.1,
        None => b"hostname = \"selftest\"\n".to_vec(),
    };
    let configuration = if arguments.selftest { with_selftest(&configuration)? } else { configuration };
    compose(configuration, arguments.routes.as_deref(), &arguments.out, progress)?;
    progress.say(&format!("{}: ready to boot, by BIOS and by UEFI", arguments.out.display()));
    Ok(())
}

/// Checks the configuration, builds, and writes an image.
pub(super) fn write(config: &Path, routes: Option<&Path>, out: &Path, progress: Progress) -> Result<()> {
    let (_, configuration) = super::read_config(config)?;
    compose(configuration, routes, out, progress)
}

fn compose(configuration: Vec<u8>, routes: Option<&Path>, out: &Path, progress: Progress) -> Result<()> {
    let content = super::with_routes(configuration, routes)?;
    let builder = Builder::new(&Workspace::find(), progress)?;
    let kernel = builder.kernel()?;
    builder.image_file(&kernel, &content, out)
}

/// Switches the self-test on in a configuration, wherever its settings stand; everything else stays as its writer left it.
///
/// # Errors
/// When the configuration has said something about the test already, or is none.
fn with_selftest(configuration: &[u8]) -> Result<Vec<u8>> {
    const SETTING: &str = "\"kern.selftest\" = 1";
    let text = std::str::from_utf8(configuration).context("the configuration is no text")?;
    let mut lines: Vec<&str> = text.lines().collect();
    let head = |line: &&str| line.split('#').next().is_some_and(|line| line.replace(' ', "").trim() == "[sysctl]");
    match lines.iter().position(head) {
        Some(at) => lines.insert(at + 1, SETTING),
        None => lines.extend(["[sysctl]", SETTING]),
    }
    let text = lines.join("\n") + "\n";
    Config::parse(&text).map_err(|error| anyhow!("with the self-test switched on: {error}"))?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(configuration: &str) -> Vec<(String, String)> {
        let text = String::from_utf8(with_selftest(configuration.as_bytes()).unwrap()).unwrap();
        let config = Config::parse(&text).unwrap();
        config.sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect()
    }

    #[test]
    fn the_setting_joins_those_that_are_there() {
        let on = ("kern.selftest".to_owned(), "1".to_owned());
        for given in ["", "hostname = \"r1\""] {
            assert_eq!(settings(given), std::slice::from_ref(&on), "{given:?}");
        }
        let ttl = ("net.inet.ip.ttl".to_owned(), "9".to_owned());
        for given in ["[sysctl]\n\"net.inet.ip.ttl\" = 9\n", "[ sysctl ] # mine\r\n\"net.inet.ip.ttl\" = 9\r\n\r\n"] {
            assert_eq!(settings(given), [on.clone(), ttl.clone()], "{given:?}");
        }
    }

    #[test]
    fn what_is_said_twice_is_refused() {
        let error = with_selftest(b"[sysctl]\n\"kern.selftest\" = 0\n").unwrap_err();
        assert!(error.to_string().starts_with("with the self-test switched on: "), "{error}");
    }
}
