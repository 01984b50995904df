//! Random commands of the first milestone, most of them sensible, some of them odd.
//!
//! A rule is a line of words: a capital word stands for itself, a lower-case one for a random
//! argument of its kind; `?` makes what follows optional, `|` separates choices, `:` joins an
//! option and its arguments, `+` repeats the group.

use std::fmt;

use crate::random::Random;

/// One command with its arguments.
#[derive(Debug, Clone)]
pub struct Command {
    pub args: Vec<Vec<u8>>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            if arg.len() > 80 {
                write!(f, "{space}\"{}…\"({} bytes)", arg[..40].escape_ascii(), arg.len())?;
            } else {
                write!(f, "{space}\"{}\"", arg.escape_ascii())?;
            }
        }
        Ok(())
    }
}

/// Weighted by how often a rule stands here.
const RULES: &[&str] = &[
    "SET key value",
    "SET key value",
    "SET key number",
    "GET key",
    "GET key",
    "SET key value ?EX:ttl|PX:pttl|EXAT:at|PXAT:pat|KEEPTTL ?NX|XX ?GET",
    "APPEND key value",
    "DECR key",
    "DECRBY key int",
    "INCR key",
    "INCRBY key int",
    "INCRBYFLOAT key float",
    "GETDEL key",
    "GETEX key ?EX:ttl|PX:pttl|EXAT:at|PXAT:pat|PERSIST",
    "GETRANGE key index index",
    "GETSET key value",
    "MGET +key",
    "MSET +key:value",
    "MSETNX +key:value",
    "PSETEX key pttl value",
    "SETEX key ttl value",
    "SETNX key value",
    "SETRANGE key offset value",
    "STRLEN key",
    "COPY key key ?DB:db ?REPLACE",
    "DEL +key",
    "EXISTS +key",
    "EXPIRE key ttl ?NX|XX|GT|LT",
    "EXPIREAT key at ?NX|XX|GT|LT",
    "EXPIRETIME key",
    "KEYS pattern",
    "MOVE key db",
    "OBJECT ENCODING key",
    "OBJECT REFCOUNT key",
    "PERSIST key",
    "PEXPIRE key pttl ?NX|XX|GT|LT",
    "PEXPIREAT key pat ?NX|XX|GT|LT",
    "PEXPIRETIME key",
    "PTTL key",
    "RANDOMKEY",
    "RENAME key key",
    "RENAMENX key key",
    "SCAN 0 ?MATCH:pattern ?COUNT:all ?TYPE:type",
    "TOUCH +key",
    "TTL key",
    "TYPE key",
    "UNLINK +key",
    "DBSIZE",
    "HDEL key +field",
    "HEXISTS key field",
    "HGET key field",
    "HGETALL key",
    "HINCRBY key field int",
    "HINCRBYFLOAT key field float",
    "HKEYS key",
    "HLEN key",
    "HMGET key +field",
    "HMSET key +field:value",
    "HRANDFIELD key ?count:?WITHVALUES",
    "HSCAN key 0 ?MATCH:pattern ?COUNT:all",
    "HSET key +field:value",
    "HSET key +field:value",
    "HSETNX key field value",
    "HSTRLEN key field",
    "HVALS key",
    "LINDEX key index",
    "LINSERT key BEFORE|AFTER value value",
    "LLEN key",
    "LMOVE key key LEFT|RIGHT LEFT|RIGHT",
    "LMPOP small +key LEFT|RIGHT ?COUNT:small",
    "LPOP key ?small",
    "LPOS key value ?RANK:rank ?COUNT:small ?MAXLEN:small",
    "LPUSH key +value",
    "LPUSHX key +value",
    "LRANGE key index index",
    "LREM key rank value",
    "LSET key index value",
    "LTRIM key index index",
    "RPOP key ?small",
    "RPOPLPUSH key key",
    "RPUSH key +value",
    "RPUSH key +value",
    "RPUSHX key +value",
    "SADD key +member",
    "SADD key +number",
    "SCARD key",
    "SDIFF +key",
    "SDIFFSTORE key +key",
    "SINTER +key",
    "SINTERCARD small +key ?LIMIT:small",
    "SINTERSTORE key +key",
    "SISMEMBER key member",
    "SMEMBERS key",
    "SMISMEMBER key +member",
    "SMOVE key key member",
    "SRANDMEMBER key ?count",
    "SREM key +member",
    "SSCAN key 0 ?MATCH:pattern ?COUNT:all",
    "SUNION +key",
    "SUNIONSTORE key +key",
    "SELECT db",
    "ECHO value",
    "PING ?value",
    "MULTI",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH +key",
    "UNWATCH",
    "SWAPDB db db",
    "SPOP_THEN_DEL key",
    "OBJECT FREQ key",
];

/// Commands whose replies may differ by chance: not inside a transaction, where replies do not
/// name their commands.
const NOT_IN_TRANSACTION: &[&str] =
    &["RANDOMKEY", "SRANDMEMBER", "HRANDFIELD", "SCAN", "HSCAN", "SSCAN", "HGETALL", "WATCH"];

/// Makes commands from a seed.
#[derive(Debug)]
pub struct Grammar {
    random: Random,
    /// A second half that must follow at once.
    then: Option<Command>,
    in_transaction: bool,
}

impl Grammar {
    pub fn new(random: Random) -> Self {
        Self { random, then: None, in_transaction: false }
    }

    /// The next command of the stream.
    pub fn command(&mut self) -> Command {
        if let Some(command) = self.then.take() {
            return command;
        }
        if self.random.chance(1) {
            return words(&["FLUSHALL"]);
        }
        let rule = self.rule();
        match rule.split(' ').next().unwrap_or_default() {
            "MULTI" => self.in_transaction = true,
            "EXEC" | "DISCARD" => self.in_transaction = false,
            "SPOP_THEN_DEL" => return self.pop_then_delete(),
            _ => {}
        }
        let mut args = Vec::new();
        for word in rule.split(' ') {
            self.expand(word, &mut args);
        }
        // The borders of a transaction stay as they are: the generator must know where it is.
        let border = matches!(args[0].as_slice(), b"MULTI" | b"EXEC" | b"DISCARD");
        if !border && self.random.chance(40) {
            self.spoil(&mut args);
        }
        Command { args }
    }

    fn rule(&mut self) -> &'static str {
        loop {
            let rule = self.random.pick(RULES);
            let name = rule.split(' ').next().unwrap_or_default();
            let random_reply = NOT_IN_TRANSACTION.contains(&name) || name == "SPOP_THEN_DEL";
            if !(self.in_transaction && random_reply) {
                return rule;
            }
        }
    }

    /// SPOP takes different members on each side: the rest of the set is removed on both.
    fn pop_then_delete(&mut self) -> Command {
        let key = self.key();
        self.then = Some(Command { args: vec![b"DEL".to_vec(), key.clone()] });
        let mut args = vec![b"SPOP".to_vec(), key];
        if self.random.chance(500) {
            args.push(self.argument("small"));
        }
        Command { args }
    }

    fn expand(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        if let Some(optional) = word.strip_prefix('?') {
            if self.random.chance(350) {
                self.expand_choice(optional, args);
            }
        } else if let Some(group) = word.strip_prefix('+') {
            for _ in 0..=self.random.below(3) {
                self.expand_choice(group, args);
            }
        } else {
            self.expand_choice(word, args);
        }
    }

    fn expand_choice(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        let choices: Vec<&str> = word.split('|').collect();
        let choice = choices[self.random.below(choices.len())];
        for part in choice.split(':') {
            if let Some(optional) = part.strip_prefix('?') {
                if self.random.chance(500) {
                    args.push(self.argument(optional));
                }
            } else {
                args.push(self.argument(part));
            }
        }
    }

    fn argument(&mut self, kind: &str) -> Vec<u8> {
        let random = &mut self.random;
        let text = match kind {
            "key" => return self.key(),
            "field" | "member" => format!("m{}", random.below(12)),
            "value" => return self.value(),
            "number" => random.below(1000).to_string(),
            "int" => random
                .pick(&[
                    "1",
                    "-1",
                    "0",
                    "5",
                    "100",
                    "-7",
                    "9223372036854775807",
                    "-9223372036854775808",
                    "3.0",
                    "+1",
                    "01",
                    "x",
                    "",
                ])
                .to_owned(),
            "float" => random
                .pick(&[
                    "1",
                    "0.1",
                    "-2.5",
                    "3.0e3",
                    "1e400",
                    "nan",
                    "inf",
                    "-inf",
                    "x",
                    "",
                    "0.0001",
                    "123456789.123456789",
                    "1e17",
                    "-0",
                ])
                .to_owned(),
            "index" => random
                .pick(&["0", "1", "-1", "2", "-2", "5", "100", "-100", "x", "9223372036854775807"])
                .to_owned(),
            "offset" => random.pick(&["0", "1", "3", "50", "-1", "4294967296", "x"]).to_owned(),
            "rank" => random.pick(&["1", "-1", "2", "-2", "0", "x"]).to_owned(),
            "small" => random.pick(&["1", "2", "3", "0", "-1", "10", "x"]).to_owned(),
            "count" => random.pick(&["1", "2", "-3", "0", "100", "-20", "x"]).to_owned(),
            "all" => "100000".to_owned(),
            // Either far away or over: nothing expires while the servers are compared.
            "ttl" => random
                .pick(&["5000", "100000", "0", "-1", "x", "9223372036854775807", "1000000"])
                .to_owned(),
            "pttl" => random
                .pick(&["5000000", "100000000", "0", "-1", "x", "9223372036854775807"])
                .to_owned(),
            "at" => random.pick(&["4102444800", "4202444800", "1", "0", "-5", "x"]).to_owned(),
            "pat" => random.pick(&["4102444800000", "4202444800001", "1", "-5", "x"]).to_owned(),
            "db" => random.pick(&["0", "1", "2", "3", "0", "1", "16", "-1", "x"]).to_owned(),
            "type" => random.pick(&["string", "hash", "list", "set", "zset", "nothing"]).to_owned(),
            "pattern" => random
                .pick(&["*", "k*", "k[0-5]", "?1", "k\\1", "[^k]*", "m*", "[a-", "\\", "m?", ""])
                .to_owned(),
            literal => literal.to_owned(),
        };
        text.into_bytes()
    }

    fn key(&mut self) -> Vec<u8> {
        match self.random.below(60) {
            0 => Vec::new(),
            1 => b"k\x00\r\n".to_vec(),
            n => format!("k{}", n % 24).into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => Vec::new(),
            1 => b"\x00\xff\r\n$5".to_vec(),
            2 => vec![b'v'; 40 + self.random.below(60)],
            3 if self.random.chance(100) => vec![b'w'; 9000],
            4 | 5 => self.random.below(100_000).to_string().into_bytes(),
            6 => b"3.14".to_vec(),
            n => format!("v{}", n + self.random.below(4)).into_bytes(),
        }
    }

    /// Makes a command odd: too few or too many arguments, options twice, wrong case.
    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        match self.random.below(5) {
            0 => {
                args.pop();
                if args.is_empty() {
                    args.push(b"PING".to_vec());
                }
            }
            1 => {
                let extra = self.value();
                args.push(extra);
            }
            2 => args[0].make_ascii_lowercase(),
            3 => {
                let last = args[args.len() - 1].clone();
                args.push(last);
            }
            _ => {
                let at = self.random.below(args.len());
                if at > 0 {
                    args[at] = self.value();
                }
            }
        }
    }
}

fn words(text: &[&str]) -> Command {
    Command { args: text.iter().map(|word| word.as_bytes().to_vec()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_again() {
        let stream = |seed| {
            let mut grammar = Grammar::new(Random::new(seed));
            (0..500).map(|_| grammar.command().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }
}
