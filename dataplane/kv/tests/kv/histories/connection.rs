//! A connection of a client that gives up after a while, and what its answers mean.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::service::Primary;
use crate::process::{Value, encode, read_value};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(400);

/// What a client may conclude.
#[derive(Debug)]
pub(crate) enum Answer {
    Given(Value),
    /// Nothing was done.
    Refused,
    /// Nobody knows.
    Lost,
}

pub(crate) struct Connection {
    pub(crate) to: Primary,
    reader: BufReader<TcpStream>,
    /// An answer is missing, or came in the middle of something: to be given up.
    pub(crate) is_broken: bool,
}

impl Connection {
    pub(crate) fn open(to: Primary) -> Option<Self> {
        let address = ([127, 0, 0, 1], to.port).into();
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { to, reader: BufReader::new(stream), is_broken: false })
    }

    /// One command.
    pub(crate) fn ask(&mut self, command: &str) -> Answer {
        let sent = self.reader.get_mut().write_all(&encode(command));
        let read = sent.and_then(|()| self.read());
        self.conclude(read)
    }

    fn read(&mut self) -> io::Result<Value> {
        read_value(&mut self.reader)
    }

    fn conclude(&mut self, read: io::Result<Value>) -> Answer {
        const REFUSALS: [&str; 5] =
            ["READONLY ", "LOADING ", "NOREPLICAS ", "EXECABORT ", "MISCONF "];
        let answer = match read {
            Ok(Value::Error(text)) if text.contains("the outcome is unknown") => Answer::Lost,
            Ok(Value::Error(text)) => {
                assert!(REFUSALS.iter().any(|word| text.starts_with(word)), "{text}");
                Answer::Refused
            }
            Ok(value) => Answer::Given(value),
            Err(_) => Answer::Lost,
        };
        self.is_broken |= matches!(answer, Answer::Lost);
        answer
    }

    /// Commands as one transaction. Until `EXEC` is sent nothing is done, whatever happens; each word is
    /// waited for, so that nothing is carried out by itself.
    pub(crate) fn transact(&mut self, commands: &[String]) -> Answer {
        if !self.is_queued("MULTI", "OK") {
            return Answer::Refused;
        }
        for command in commands {
            if !self.is_queued(command, "QUEUED") {
                return Answer::Refused;
            }
        }
        self.ask("EXEC")
    }

    /// Whether a command was answered as it should be on the way to `EXEC`.
    fn is_queued(&mut self, command: &str, wanted: &str) -> bool {
        let is_wanted =
            matches!(self.ask(command), Answer::Given(Value::Status(word)) if word == wanted);
        self.is_broken |= !is_wanted;
        is_wanted
    }
}
