//! A server for the harness's own tests: shows where its configuration and its volume came from.
//!
//! `e2e-toy-server --page=<file> --data=<folder>`, listens at `ORRERY_LISTEN_HTTP`. `/page` is the
//! file as it is now, `/starts` the number of starts noted in the folder, `/name` the pod's name.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let option = |name: &str| {
        let mut arguments = std::env::args();
        arguments.find_map(|argument| argument.strip_prefix(name).map(PathBuf::from))
    };
    let missing = || std::io::Error::other("usage: e2e-toy-server --page=<file> --data=<folder>");
    let page = option("--page=").ok_or_else(missing)?;
    let data = option("--data=").ok_or_else(missing)?;
    let starts = data.join("starts");
    writeln!(File::options().create(true).append(true).open(&starts)?, "started")?;
    let address = std::env::var("ORRERY_LISTEN_HTTP").map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(&address)?;
    eprintln!("listening at {address}");
    for stream in listener.incoming() {
        // A client that goes away is no reason to end.
        let _ = answer(&mut stream?, &page, &starts);
    }
    Ok(())
}

fn answer(stream: &mut TcpStream, page: &Path, starts: &Path) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(&*stream).read_line(&mut line)?;
    let body = match line.split(' ').nth(1) {
        Some("/page") => fs::read_to_string(page)?,
        Some("/starts") => fs::read_to_string(starts)?.lines().count().to_string(),
        Some("/name") => std::env::var("POD").unwrap_or_default(),
        _ => String::new(),
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
