//! Host processor time of threads, as Linux accounts for it: [`of_thread`], [`waited_of_threads`].

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The ticks of `/proc/PID/stat` in a second: `USER_HZ`, 100 on every architecture that QEMU's TCG is used on.
const TICKS: u64 = 100;

/// Returns the processor time that a thread of another process has used.
///
/// # Errors
/// When there is no such thread.
pub fn of_thread(process: u32, thread: u32) -> Result<Duration> {
    of(&format!("/proc/{process}/task/{thread}"))
}

/// Returns the processor time of several threads together.
///
/// # Errors
/// When one is not there.
pub fn of_threads(process: u32, threads: &[u32]) -> Result<Duration> {
    threads.iter().map(|thread| of_thread(process, *thread)).sum()
}

/// Returns for how long several threads together could have run and had no processor; `None` where the kernel does not say.
#[must_use]
pub fn waited_of_threads(process: u32, threads: &[u32]) -> Option<Duration> {
    let waited = |thread: &u32| {
        let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).ok()?;
        scheduled(&text).map(|[_, waited]| waited)
    };
    threads.iter().map(waited).sum()
}

/// Returns the processor time that all threads of a process have used that are alive.
///
/// # Errors
/// When there is no such process.
pub fn of_process(process: u32) -> Result<Duration> {
    let folder = format!("/proc/{process}/task");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?;
    // A thread that ends meanwhile is left out.
    Ok(entries.flatten().filter_map(|entry| of(&entry.path().display().to_string()).ok()).sum())
}

/// Returns the processor time of the calling thread.
///
/// # Errors
/// When Linux does not tell.
pub fn own() -> Result<Duration> {
    of("/proc/thread-self")
}

/// Reads the exact time of the scheduler's statistics, or the coarse one where the kernel has none.
fn of(folder: &str) -> Result<Duration> {
    if let Some(time) = fs::read_to_string(format!("{folder}/schedstat")).ok().and_then(|text| scheduled(&text)) {
        return Ok(time[0]);
    }
    let path = format!("{folder}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    ticked(&text).with_context(|| format!("{path} has no times: {text:?}"))
}

/// Reads `schedstat`: nanoseconds on a processor, nanoseconds waiting, slices (Linux, scheduler/sched-stats).
fn scheduled(text: &str) -> Option<[Duration; 2]> {
    let mut times = text.split_whitespace().map(|time| time.parse().ok().map(Duration::from_nanos));
    Some([times.next()??, times.next()??])
}

/// Reads `stat`: fields 14 and 15 are user and system time in ticks (proc(5)). The second, a name in parentheses, may
/// contain anything.
fn ticked(text: &str) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn both_formats_are_read() {
        assert_eq!(scheduled("123456 7 8\n"), Some([123_456, 7].map(Duration::from_nanos)));
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 3 4\n";
        assert_eq!(ticked(stat), Some(Duration::from_secs(3)));
        assert_eq!((scheduled("x"), ticked("7 (a) S 1")), (None, None));
    }

    #[test]
    fn work_takes_time_and_its_process_has_it_too() {
        let (process, before) = (std::process::id(), own().unwrap());
        let began = Instant::now();
        let mut sum = 0_u64;
        while own().unwrap() < before + Duration::from_millis(20) && began.elapsed() < Duration::from_secs(60) {
            sum = (0..100_000).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
        }
        assert!(own().unwrap() >= before + Duration::from_millis(20));
        assert!(of_process(process).unwrap() >= own().unwrap());
        assert!(of_thread(process, 0).is_err());
        assert_eq!(waited_of_threads(process, &[0]), None);
    }
}
