//! Commands parsed ahead of the one that runs.
//!
//! Parsing ahead must not be seen: a command may change how the rest of the buffer is to be taken
//! (`AUTH`, `QUIT`, a pause). So only what parses the same at any time is parsed ahead: whole
//! requests in array form on an authenticated connection; the parser does not touch their bytes.

use orrery_resp::{Limits, Parsed, Span};

use super::connection::Connection;

/// Commands parsed ahead. Enough to hide the latency of memory, few enough for the first cache.
pub(crate) const BATCH_COMMANDS: usize = 16;

/// Some parsed commands of one buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    spans: Vec<Span>,
    /// Per command: where its arguments end in `spans`, where its bytes end in the buffer.
    ends: Vec<(usize, usize)>,
}

/// One parsed command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Args<'a> {
    pub(crate) spans: &'a [Span],
    /// Where its bytes end in the buffer.
    pub(crate) end: usize,
}

impl Batch {
    /// Commands in it.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Replaces the batch by the commands at `buffer[from..]`, `most` at the most, and says what
    /// comes behind them: `Command` if that is not known yet.
    pub(crate) fn parse(
        &mut self,
        connection: &mut Connection,
        buffer: &mut [u8],
        from: usize,
        most: usize,
        bulk_bytes_max: i64,
    ) -> Parsed {
        self.spans.clear();
        self.ends.clear();
        let authenticated = connection.authenticated;
        let limits = Limits { bulk_bytes_max, authenticated, ..Limits::default() };
        let most = if authenticated { most.min(BATCH_COMMANDS) } else { 1 };
        let mut from = from;
        loop {
            match connection.decoder.parse(buffer, from, &limits, &mut self.spans) {
                Parsed::Command { consumed } => from += consumed,
                end => return end,
            }
            self.ends.push((self.spans.len(), from));
            if self.len() >= most || buffer.get(from) != Some(&b'*') {
                return Parsed::Command { consumed: from };
            }
        }
    }

    /// The commands in their order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = Args<'_>> {
        let mut first = 0;
        self.ends.iter().map(move |(last, end)| {
            let spans = &self.spans[first..*last];
            first = *last;
            Args { spans, end: *end }
        })
    }
}
