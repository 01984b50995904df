//! A pod that lies: it passes commands on to a real engine, and now and then does what an engine must
//! never do.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::process::{Value, read_value};

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Reads of registers show what they were when they were read first.
    OldRead,
    /// Reads of lists do.
    OldList,
    /// A write is acknowledged and not made.
    LostWrite,
    /// An element is acknowledged and not appended.
    LostElement,
    /// An element is appended twice.
    Twice,
    /// A write is made and refused.
    RefusedAndDone,
}

/// One in so many commands of the kind that it lies about.
const ONE_IN: usize = 5;

/// Listens on a port, as long as the process lives.
pub(crate) fn liar(lie: Lie, engine: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let engine = TcpStream::connect(("127.0.0.1", engine));
            let Ok(engine) = engine else { continue };
            thread::spawn(move || Talk::between(lie, client, engine).go_on());
        }
    });
    port
}

struct Talk {
    lie: Lie,
    client: BufReader<TcpStream>,
    engine: BufReader<TcpStream>,
    /// Replies as they were at first, by what was asked.
    first: HashMap<String, Value>,
    /// Of a transaction: which replies are to be replaced, with what.
    lies: HashMap<usize, Value>,
    queued: usize,
    count: usize,
}

impl Talk {
    fn between(lie: Lie, client: TcpStream, engine: TcpStream) -> Self {
        let (client, engine) = (BufReader::new(client), BufReader::new(engine));
        let (first, lies) = (HashMap::new(), HashMap::new());
        Self { lie, client, engine, first, lies, queued: 0, count: 0 }
    }

    /// Until one of them hangs up.
    fn go_on(&mut self) {
        while let Ok(Value::Array(Some(words))) = read_value(&mut self.client) {
            let words: Vec<String> = words.iter().map(Value::text).collect();
            let Some(reply) = self.reply(&words) else { return };
            if self.client.get_mut().write_all(&encoded(&reply)).is_err() {
                return;
            }
        }
    }

    fn is_due(&mut self) -> bool {
        self.count += 1;
        self.count.is_multiple_of(ONE_IN)
    }

    fn reply(&mut self, words: &[String]) -> Option<Value> {
        let ok = || Some(Value::Status("OK".into()));
        match (self.lie, words[0].as_str(), words.len()) {
            (Lie::LostWrite, "SET", 3) if self.queued == 0 && self.is_due() => ok(),
            (Lie::RefusedAndDone, "SET", 3) if self.queued == 0 && self.is_due() => {
                self.ask(words)?;
                Some(Value::Error("READONLY it is a lie".into()))
            }
            (Lie::OldRead, "GET", _) => {
                let reply = self.ask(words)?;
                let old = self.first.entry(words[1].clone()).or_insert_with(|| reply.clone());
                let old = old.clone();
                Some(if self.is_due() { old } else { reply })
            }
            (_, "MULTI", _) => {
                (self.queued, self.lies) = (0, HashMap::new());
                self.ask(words)
            }
            (Lie::LostElement, "RPUSH", _) if self.is_due() => {
                // Something else takes its place.
                let queued = self.ask(&["EXISTS".to_owned(), words[1].clone()]);
                self.lies.insert(self.queued, Value::Integer(1));
                self.queued += 1;
                queued
            }
            (Lie::Twice, "RPUSH", _) if self.is_due() => {
                self.queued += 1;
                self.ask(&[words, &words[2..]].concat())
            }
            (_, "RPUSH" | "LRANGE" | "SET", _) => {
                let reply = self.ask(words);
                self.queued += usize::from(reply == Some(Value::Status("QUEUED".into())));
                reply
            }
            (_, "EXEC", _) => self.executed(words),
            _ => self.ask(words),
        }
    }

    fn executed(&mut self, words: &[String]) -> Option<Value> {
        self.queued = 0;
        let mut reply = self.ask(words)?;
        if let Value::Array(Some(replies)) = &mut reply {
            for (at, lie) in self.lies.drain() {
                replies[at] = lie;
            }
            for (at, one) in replies.iter_mut().enumerate() {
                let is_list = self.lie == Lie::OldList && matches!(one, Value::Array(_));
                if is_list && self.count.is_multiple_of(ONE_IN) {
                    *one = self.first.entry(at.to_string()).or_insert_with(|| one.clone()).clone();
                }
                self.count += usize::from(is_list);
            }
        }
        Some(reply)
    }

    fn ask(&mut self, words: &[String]) -> Option<Value> {
        let words: Vec<Value> =
            words.iter().map(|word| Value::Bulk(Some(word.clone().into_bytes()))).collect();
        self.engine.get_mut().write_all(&encoded(&Value::Array(Some(words)))).ok()?;
        read_value(&mut self.engine).ok()
    }
}

fn encoded(value: &Value) -> Vec<u8> {
    match value {
        Value::Status(text) => format!("+{text}\r\n").into_bytes(),
        Value::Error(text) => format!("-{text}\r\n").into_bytes(),
        Value::Integer(number) => format!(":{number}\r\n").into_bytes(),
        Value::Bulk(None) => b"$-1\r\n".to_vec(),
        Value::Bulk(Some(bytes)) => {
            [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
        }
        Value::Array(None) => b"*-1\r\n".to_vec(),
        Value::Array(Some(values)) => {
            let head = format!("*{}\r\n", values.len()).into_bytes();
            values.iter().fold(head, |all, value| [all, encoded(value)].concat())
        }
    }
}
