//! Lets clients outside reach one address inside a network namespace: a listener on a loopback
//! address of the machine whose connections are carried on by sockets made inside.

use std::net::{SocketAddr, TcpStream as StdStream};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::netns::NetNs;
use crate::run::Run;
use crate::{ClusterError, address};

/// Listens until the run ends; gives the address to dial.
pub(crate) fn start(
    run: &Run,
    netns: NetNs,
    target: SocketAddr,
) -> Result<SocketAddr, ClusterError> {
    let own = SocketAddr::from((address::free(&[target.port()])?, target.port()));
    let start = |cause| ClusterError::Start { program: format!("a relay at {own}"), cause };
    let listener = std::net::TcpListener::bind(own).map_err(start)?;
    listener.set_nonblocking(true).map_err(start)?;
    run.task(async move {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        while let Ok((stream, _)) = listener.accept().await {
            let netns = netns.clone();
            // Ends with either side; when the run ends the namespace's side does.
            tokio::spawn(carry(stream, netns, target));
        }
    });
    Ok(own)
}

async fn carry(mut outside: TcpStream, netns: NetNs, target: SocketAddr) {
    let connected = tokio::task::spawn_blocking(move || {
        let stream: StdStream = netns.connect(target)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    });
    // A client sees a refusal inside as a connection that ends at once.
    let Ok(Ok(inside)) = connected.await else { return };
    let Ok(mut inside) = TcpStream::from_std(inside) else { return };
    let _ = outside.set_nodelay(true);
    let _ = copy_bidirectional(&mut outside, &mut inside).await;
}
