//! What the first panic of an execution said. Shuttle ends an execution at once, and then speaks of its own panic only.

use alloc::string::{String, ToString};
use std::{cell::RefCell, panic, sync::Once};

/// Whether the calling thread listens, and what it has heard.
#[derive(Default)]
struct Ear {
    listening: bool,
    /// Nobody else is to hear: the panic is what is being looked for.
    alone: bool,
    heard: Option<String>,
}

std::thread_local! {
    static EAR: RefCell<Ear> = RefCell::default();
}

static INSTALL: Once = Once::new();

/// Runs `act` and, if it fails, says what its first panic said.
pub(super) fn first_words(alone: bool, act: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    INSTALL.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(alloc::boxed::Box::new(move |info| {
            let tell_others = EAR.with_borrow_mut(|ear| {
                if ear.listening && ear.heard.is_none() {
                    ear.heard = Some(info.to_string());
                }
                !(ear.listening && ear.alone)
            });
            if tell_others {
                others(info);
            }
        }));
    });
    EAR.replace(Ear { listening: true, alone, heard: None });
    let result = act();
    let heard = EAR.take().heard;
    result.map_err(|said| heard.unwrap_or(said))
}
