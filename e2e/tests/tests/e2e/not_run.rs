//! A test whose prerequisites are missing says so, with the reason; it never passes silently.

/// Unwraps, or prints why the test does not run and leaves it.
macro_rules! or_not_run {
    ($what:expr) => {
        match $what {
            Ok(value) => value,
            Err(why) => {
                if std::env::var_os("ORRERY_REQUIRE_ALL").is_some() {
                    panic!("not run: {why}");
                }
                eprintln!("not run: {why}");
                return;
            }
        }
    };
}

pub(crate) use or_not_run;
