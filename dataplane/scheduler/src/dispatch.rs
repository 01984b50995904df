//! Hands runs to their targets. See `Dispatcher`.

/// What a run does, resolved: every name looked up, every text parsed.
#[derive(Debug)]
pub enum Action {}
