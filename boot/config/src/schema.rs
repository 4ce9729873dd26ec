//! The file as TOML sees it: what may be written, not yet what makes sense.
//!
//! Every value that a rule may refuse is `Spanned`, so that the refusal can point at it. Unknown keys end the parse
//! with the library's own message, which names the keys that there are. Thread context.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) hostname: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) interface: Vec<Interface>,
    #[serde(default)]
    pub(crate) route: Vec<Route>,
    #[serde(default)]
    pub(crate) sysctl: BTreeMap<Spanned<String>, Spanned<Value>>,
}

/// An MTU, if one is given.
pub(crate) type Mtu = Option<Spanned<i64>>;

/// One `[[interface]]`.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interface {
    pub(crate) name: Spanned<String>,
    #[serde(default)]
    pub(crate) addresses: Vec<Spanned<String>>,
    pub(crate) mtu: Mtu,
    pub(crate) up: Option<bool>,
}

/// One `[[route]]`.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) prefix: Spanned<String>,
    pub(crate) via: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) blackhole: bool,
    #[serde(default)]
    pub(crate) unreachable: bool,
}

/// The value of a sysctl: whatever reads most naturally in the file.
#[derive(Deserialize, Debug)]
#[serde(untagged, expecting = "expected a text, a whole number, or true or false")]
pub(crate) enum Value {
    Truth(bool),
    Number(i64),
    Text(String),
}
