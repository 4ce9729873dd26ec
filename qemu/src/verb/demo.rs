//! The default verb.

use anyhow::Result;
use clap::Args;

use super::MachineArguments;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    machine: MachineArguments,
}

pub(crate) fn run(_arguments: &Arguments) -> Result<()> {
    anyhow::bail!("not yet")
}
