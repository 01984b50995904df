//! Names of all commands and subcommands of a key-value process, sorted.

/// `command` or `container|subcommand`, in lower case.
#[rustfmt::skip]
pub const COMMANDS: &[&str] = &[
    "acl", "acl|cat", "acl|deluser", "acl|dryrun", "acl|genpass", "acl|getuser", "acl|help",
    "acl|list", "acl|load", "acl|log", "acl|save", "acl|setuser", "acl|users", "acl|whoami",
    "append", "auth", "bgrewriteaof", "bgsave", "blmove", "blmpop", "blpop", "brpop", "brpoplpush",
    "client", "client|caching", "client|durability", "client|getname", "client|getredir",
    "client|help", "client|id", "client|info", "client|kill", "client|list", "client|no-evict",
    "client|pause", "client|reply", "client|setinfo", "client|setname", "client|tracking",
    "client|trackinginfo", "client|unblock", "client|unpause", "command", "command|count",
    "command|docs", "command|getkeys", "command|getkeysandflags", "command|help", "command|info",
    "command|list", "config", "config|get", "config|help", "config|resetstat", "config|rewrite",
    "config|set", "copy", "dbsize", "debug", "decr", "decrby", "del", "discard", "echo", "exec",
    "exists", "expire", "expireat", "expiretime", "flushall", "flushdb", "function", "get",
    "getdel", "getex", "getrange", "getset", "hdel", "hello", "hexists", "hget", "hgetall",
    "hincrby", "hincrbyfloat", "hkeys", "hlen", "hmget", "hmset", "hrandfield", "hscan", "hset",
    "hsetnx", "hstrlen", "hvals", "incr", "incrby", "incrbyfloat", "info", "keys", "lastsave",
    "lindex", "linsert", "llen", "lmove", "lmpop", "lpop", "lpos", "lpush", "lpushx", "lrange",
    "lrem", "lset", "ltrim", "memory", "memory|help", "memory|usage", "mget", "move", "mset",
    "msetnx", "multi", "object", "object|encoding", "object|freq", "object|help", "object|idletime",
    "object|refcount", "persist", "pexpire", "pexpireat", "pexpiretime", "ping", "psetex", "psync",
    "pttl", "quit", "randomkey", "rename", "renamenx", "replconf", "reset", "role", "rpop",
    "rpoplpush", "rpush", "rpushx", "sadd", "save", "scan", "scard", "sdiff", "sdiffstore",
    "select", "set", "setex", "setnx", "setrange", "sinter", "sintercard", "sinterstore",
    "sismember", "smembers", "smismember", "smove", "spop", "srandmember", "srem", "sscan",
    "strlen", "sunion", "sunionstore", "swapdb", "time", "touch", "ttl", "type", "unlink",
    "unwatch", "wait", "watch",
];
