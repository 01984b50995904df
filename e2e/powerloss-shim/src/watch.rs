//! Which calls concern the watched folder, and the one lock under which they are made.

use std::cell::Cell;
use std::env;
use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use orrery_powerloss::Image;

use crate::plan::Plan;

/// Descriptors above this are not watched; a process under test has few.
const DESCRIPTORS: usize = 4096;
const NOTHING: u64 = 0;
/// Stands for the folder itself; no file has it as its number on any file system of Linux.
pub(crate) const FOLDER: u64 = u64::MAX;

/// What each descriptor is open on: [`NOTHING`] watched, [`FOLDER`], or the inode of a file in it.
static OPEN: [AtomicU64; DESCRIPTORS] = [const { AtomicU64::new(NOTHING) }; DESCRIPTORS];
static WATCH: OnceLock<Option<Watch>> = OnceLock::new();

thread_local! {
    /// Whether this thread is within a call of its own, which passes unwatched.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) image: Image,
    pub(crate) plan: Plan,
}

#[derive(Debug)]
struct Watch {
    live: PathBuf,
    state: Mutex<State>,
}

/// The state, for as long as one call takes. What the thread calls meanwhile is not watched.
pub(crate) struct Turn {
    pub(crate) state: MutexGuard<'static, State>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Folder,
    File(String),
}

fn watch() -> Option<&'static Watch> {
    WATCH
        .get_or_init(|| {
            let live = PathBuf::from(env::var_os("ORRERY_POWERLOSS_LIVE")?);
            let side = PathBuf::from(env::var_os("ORRERY_POWERLOSS_SIDE")?);
            let image = noted(Image::open(&live, &side));
            let state = Mutex::new(State { image, plan: Plan::from_env() });
            Some(Watch { live, state })
        })
        .as_ref()
}

/// Runs `work` unless this thread is within a call already.
fn outside<T>(work: impl FnOnce() -> Option<T>) -> Option<T> {
    if INSIDE.replace(true) {
        return None;
    }
    let result = work();
    INSIDE.set(false);
    result
}

/// Begins a watched call: one at a time. Only from outside of one.
pub(crate) fn begin() -> Option<Turn> {
    let watch = outside(watch)?;
    INSIDE.set(true);
    Some(Turn { state: watch.state.lock().unwrap_or_else(PoisonError::into_inner) })
}

/// What `path` names, if it concerns the watched folder.
pub(crate) fn place(path: &CStr) -> Option<Place> {
    let watch = outside(watch)?;
    let path = Path::new(path.to_str().ok()?);
    let rest = path.strip_prefix(&watch.live).ok()?.to_str()?;
    match rest {
        "" => Some(Place::Folder),
        name if name.contains('/') => None,
        name => Some(Place::File(name.to_owned())),
    }
}

/// What a descriptor is open on, if that is watched.
pub(crate) fn open_on(descriptor: i32) -> Option<u64> {
    let slot = OPEN.get(usize::try_from(descriptor).ok()?)?;
    let is_own = INSIDE.try_with(Cell::get).unwrap_or(true);
    Some(slot.load(Ordering::Acquire)).filter(|on| *on != NOTHING && !is_own)
}

/// Notes what a descriptor is open on from now on.
pub(crate) fn set_open(descriptor: i32, on: Option<u64>) {
    let slot = usize::try_from(descriptor).ok().and_then(|index| OPEN.get(index));
    match (slot, on) {
        (Some(slot), on) => slot.store(on.unwrap_or(NOTHING), Ordering::Release),
        (None, Some(_)) => give_up("a descriptor above those that are watched"),
        (None, None) => {}
    }
}

/// The book must not have gaps.
pub(crate) fn noted<T>(result: io::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => give_up(&format!("failed to keep the book: {error}")),
    }
}

/// Ends the process: what it would do is not modelled.
pub(crate) fn give_up(what: &str) -> ! {
    INSIDE.set(true);
    eprintln!("powerloss: {what}");
    std::process::abort()
}
