//! Names to addresses, as the machine resolves them, without the addresses that are not allowed.
//!
//! Each target has a resolver. Lookups of one are made one after the other and remembered for a
//! moment: a target that closes every connection does not ask for its name thousands of times in a
//! second, and a slow name server holds one thread for each target rather than one for each call.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::lookup_host;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower_service::Service;

use super::guard::{Denied, Guard};

/// How long addresses are remembered: names in clusters change within seconds.
const REMEMBERED: Duration = Duration::from_secs(2);

/// Why a name leads nowhere.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("failed to resolve {name}: {reason}")]
    Lookup { name: String, reason: String },
    #[error(transparent)]
    Denied(Denied),
    #[error("failed to find an address of {0}")]
    None(String),
}

type Found = Result<Vec<SocketAddr>, ResolveError>;

#[derive(Clone)]
pub(super) struct Resolver {
    guard: Guard,
    last: Arc<Mutex<Option<(String, Instant, Found)>>>,
}

impl Resolver {
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard, last: Arc::default() }
    }

    async fn resolve(self, name: Name) -> Found {
        let mut last = self.last.lock().await;
        if let Some((known, at, found)) = &*last
            && known == name.as_str()
            && at.elapsed() < REMEMBERED
        {
            return found.clone();
        }
        let found = self.lookup(name.as_str()).await;
        *last = Some((name.as_str().to_owned(), Instant::now(), found.clone()));
        found
    }

    async fn lookup(&self, name: &str) -> Found {
        let found = lookup_host((name, 0)).await.map_err(|error| ResolveError::Lookup {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        let mut denied = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.guard.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => denied = Some(error),
            }
        }
        match denied {
            _ if !allowed.is_empty() => Ok(allowed),
            Some(denied) => Err(ResolveError::Denied(denied)),
            None => Err(ResolveError::None(name.to_owned())),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            match resolver.resolve(name).await {
                Ok(addresses) => Ok(addresses.into_iter()),
                // By itself, for who looks for it among the causes.
                Err(ResolveError::Denied(denied)) => Err(denied.into()),
                Err(error) => Err(error.into()),
            }
        })
    }
}
