//! The functions that stand in for those of the C library.
//!
//! Safety, the same for all: the signatures are those of the C library on Linux, `open` with its third
//! argument in the register or stack slot where a variadic call puts it; pointers are passed on as they
//! came, and read only where the C library would read them.

use std::ffi::CStr;
use std::mem::transmute;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_char, c_int, c_void, mode_t, off_t, size_t, ssize_t};

use crate::plan::Fate;
use crate::watch::{self, FOLDER, Place, Turn, begin, give_up, noted, open_on, place};

/// The function of the C library that one of ours stands in for, looked up once.
macro_rules! real {
    ($name:expr, $type:ty) => {{
        static FOUND: AtomicUsize = AtomicUsize::new(0);
        let mut found = FOUND.load(Ordering::Relaxed);
        if found == 0 {
            // SAFETY: a name of the C library, which is loaded for as long as the process lives.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, $name.as_ptr()) } as usize;
            FOUND.store(found, Ordering::Relaxed);
        }
        // SAFETY: the type is that of the function in the C library.
        unsafe { transmute::<usize, $type>(found) }
    }};
}

type Open = unsafe extern "C" fn(*const c_char, c_int, mode_t) -> c_int;
type Pwrite = unsafe extern "C" fn(c_int, *const c_void, size_t, off_t) -> ssize_t;
type OnDescriptor = unsafe extern "C" fn(c_int) -> c_int;
type OnPath = unsafe extern "C" fn(*const c_char) -> c_int;
type OnPaths = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;

fn fails(errno: c_int) -> c_int {
    // SAFETY: the address of this thread's errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// The end of the process, as by `kill -9`.
fn die() -> ! {
    // SAFETY: a signal that this process sends to itself and cannot catch.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    std::process::abort()
}

/// What a descriptor is open on, and the lock, if that is watched.
fn watched(descriptor: c_int) -> Option<(u64, Turn)> {
    let on = open_on(descriptor)?;
    Some((on, begin()?))
}

/// # Safety
/// `path` is a C string.
unsafe fn place_of(path: *const c_char) -> Option<Place> {
    // SAFETY: promised by the caller.
    if path.is_null() { None } else { place(unsafe { CStr::from_ptr(path) }) }
}

/// # Safety
/// As that of `open64`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let real = real!(c"open64", Open);
    // SAFETY: passed on as it came.
    let open = || unsafe { real(path, flags, mode) };
    // SAFETY: a path of a call of `open64`.
    let Some(place) = (unsafe { place_of(path) }) else { return open() };
    let Some(mut turn) = begin() else { return open() };
    match place {
        Place::Folder => {
            let descriptor = open();
            watch::set_open(descriptor, Some(FOLDER));
            descriptor
        }
        Place::File(name) => open_file(&mut turn, &name, flags, open),
    }
}

fn open_file(turn: &mut Turn, name: &str, flags: c_int, open: impl Fn() -> c_int) -> c_int {
    let state = &mut *turn.state;
    // A file that is emptied or made is a change; `O_CREAT` of one that is there is none.
    let changes = flags & libc::O_TRUNC != 0;
    let fate = if changes { state.plan.write() } else { Fate::Done };
    match fate {
        Fate::Fails(errno) => return fails(errno),
        Fate::Cut { done: false } => die(),
        Fate::Done | Fate::Short | Fate::Cut { done: true } => {}
    }
    let descriptor = open();
    if descriptor < 0 {
        return descriptor;
    }
    if flags & (libc::O_CREAT | libc::O_TRUNC) != 0 {
        noted(state.image.created(name));
    }
    if matches!(fate, Fate::Cut { .. }) {
        die();
    }
    // SAFETY: `stat` is plain data, and the descriptor is open.
    let inode = unsafe {
        let mut found: libc::stat64 = std::mem::zeroed();
        if libc::fstat64(descriptor, &raw mut found) == 0 { found.st_ino } else { 0 }
    };
    watch::set_open(descriptor, Some(inode).filter(|_| flags & libc::O_ACCMODE != libc::O_RDONLY));
    descriptor
}

/// # Safety
/// As that of `open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: on 64 bits it is the same function.
    unsafe { open64(path, flags, mode) }
}

/// # Safety
/// As that of `close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(descriptor: c_int) -> c_int {
    if open_on(descriptor).is_some() {
        watch::set_open(descriptor, None);
    }
    let real = real!(c"close", OnDescriptor);
    // SAFETY: passed on as it came.
    unsafe { real(descriptor) }
}

/// # Safety
/// As that of `pwrite64`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    descriptor: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    let real = real!(c"pwrite64", Pwrite);
    // SAFETY: no more bytes than came.
    let write = |count: size_t| unsafe { real(descriptor, bytes, count, offset) };
    let Some((inode, mut turn)) = watched(descriptor) else { return write(count) };
    let state = &mut *turn.state;
    noted(state.image.dirty(inode, offset as u64, count as u64));
    let fate = state.plan.write();
    let part = state.plan.random.below(count as u64 + 1) as size_t;
    match fate {
        Fate::Done => write(count),
        Fate::Short => write(part.max(1)),
        Fate::Fails(errno) => {
            // Another thread, or the same one before, may have found room for a part.
            write(part);
            fails(errno) as ssize_t
        }
        Fate::Cut { done } => {
            write(if done { count } else { part });
            die()
        }
    }
}

/// # Safety
/// As that of `pwrite`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    descriptor: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    // SAFETY: on 64 bits it is the same function.
    unsafe { pwrite64(descriptor, bytes, count, offset) }
}

/// # Safety
/// As that of `fdatasync`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    let real = real!(c"fdatasync", OnDescriptor);
    match watched(descriptor) {
        Some((on, mut turn)) => sync(&mut turn, on),
        // SAFETY: passed on as it came.
        None => unsafe { real(descriptor) },
    }
}

/// # Safety
/// As that of `fsync`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(descriptor: c_int) -> c_int {
    let real = real!(c"fsync", OnDescriptor);
    match watched(descriptor) {
        Some((on, mut turn)) => sync(&mut turn, on),
        // SAFETY: passed on as it came.
        None => unsafe { real(descriptor) },
    }
}

fn sync(turn: &mut Turn, on: u64) -> c_int {
    let state = &mut *turn.state;
    match state.plan.sync() {
        Fate::Cut { done: false } => die(),
        Fate::Fails(errno) => {
            // The names stay as unsure as they were.
            if on != FOLDER {
                noted(state.image.fail_file(on, &mut state.plan.random));
            }
            return fails(errno);
        }
        fate => {
            let image = &mut state.image;
            noted(if on == FOLDER { image.sync_folder() } else { image.sync_file(on) });
            if matches!(fate, Fate::Cut { .. }) {
                die();
            }
        }
    }
    0
}

/// # Safety
/// As that of `rename`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let real = real!(c"rename", OnPaths);
    // SAFETY: passed on as they came.
    let rename = || unsafe { real(from, to) };
    // SAFETY: paths of a call of `rename`.
    let places = unsafe { (place_of(from), place_of(to)) };
    let (from, to) = match places {
        (None, None) => return rename(),
        (Some(Place::File(from)), Some(Place::File(to))) => (from, to),
        _ => give_up("a rename into or out of the folder is not modelled"),
    };
    let Some(mut turn) = begin() else { return rename() };
    step(&mut turn, rename, |image| image.renamed(&from, &to))
}

/// # Safety
/// As that of `unlink`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let real = real!(c"unlink", OnPath);
    // SAFETY: passed on as it came.
    let unlink = || unsafe { real(path) };
    // SAFETY: a path of a call of `unlink`.
    let Some(Place::File(name)) = (unsafe { place_of(path) }) else { return unlink() };
    let Some(mut turn) = begin() else { return unlink() };
    step(&mut turn, unlink, |image| image.removed(&name))
}

/// Makes a change of names and notes it.
fn step(
    turn: &mut Turn,
    make: impl Fn() -> c_int,
    note: impl Fn(&mut orrery_powerloss::Image) -> std::io::Result<()>,
) -> c_int {
    let state = &mut *turn.state;
    let fate = state.plan.step();
    if fate == (Fate::Cut { done: false }) {
        die();
    }
    let made = make();
    if made == 0 {
        noted(note(&mut state.image));
    }
    if fate != Fate::Done {
        die();
    }
    made
}

/// Calls that change a file by its descriptor and are not modelled.
macro_rules! not_modelled {
    ($($name:ident($descriptor:ident $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {$(
        /// # Safety
        /// As that of the function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($descriptor: c_int $(, $argument: $type)*) -> $result {
            type Real = unsafe extern "C" fn(c_int $(, $type)*) -> $result;
            const NAME: &CStr = match CStr::from_bytes_with_nul(
                concat!(stringify!($name), "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            };
            if open_on($descriptor).is_some() {
                give_up(concat!(stringify!($name), " on a watched file is not modelled"));
            }
            let real = real!(NAME, Real);
            // SAFETY: passed on as it came.
            unsafe { real($descriptor $(, $argument)*) }
        }
    )*};
}

not_modelled! {
    write(descriptor, bytes: *const c_void, count: size_t) -> ssize_t;
    writev(descriptor, parts: *const libc::iovec, count: c_int) -> ssize_t;
    pwritev(descriptor, parts: *const libc::iovec, count: c_int, offset: off_t) -> ssize_t;
    pwritev64(descriptor, parts: *const libc::iovec, count: c_int, offset: off_t) -> ssize_t;
    ftruncate(descriptor, length: off_t) -> c_int;
    ftruncate64(descriptor, length: off_t) -> c_int;
    fallocate(descriptor, mode: c_int, offset: off_t, length: off_t) -> c_int;
    fallocate64(descriptor, mode: c_int, offset: off_t, length: off_t) -> c_int;
    posix_fallocate(descriptor, offset: off_t, length: off_t) -> c_int;
    posix_fallocate64(descriptor, offset: off_t, length: off_t) -> c_int;
    dup(descriptor) -> c_int;
    dup2(descriptor, other: c_int) -> c_int;
    dup3(descriptor, other: c_int, flags: c_int) -> c_int;
}
