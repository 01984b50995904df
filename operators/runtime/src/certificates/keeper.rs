//! The Secret of the authority: made when it is first needed, read again and again, changed step by
//! step.
//!
//! Must not: write a step that was not decided on the version it replaces. Two operators cannot both
//! make an authority: the Secret is created, which fails when it exists.
//!
//! What was read last stays in use while the server is away; a Secret that was deleted meanwhile is
//! written again as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use orrery_operand::OPERATOR_NAME;
use orrery_operand::secured::Caller;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::AuthorityOptions;
use super::authority::{Authority, Step, Unusable, View, behind, has_waited};
use super::issue::{IssueError, Pair, Signer, Wish, is_due};
use super::mark::Mark;
use crate::children::store::{ChildStore, Owner};
use crate::labels;
use crate::observation::PodView;

/// Annotation in which an administrator asks for a new authority: any text that is not there yet.
pub const ROTATE: &str = "orrery.dev/rotate-authority";
/// Annotation with what the operator remembers of the authority.
const STATE: &str = "orrery.dev/authority";
/// Pause between two looks while something is awaited that comes any moment.
const SOON: Duration = Duration::from_secs(2);

/// Failed to keep the authority.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("failed to read the Secret {name}: {source}")]
    Read { name: String, source: kube::Error },
    #[error("failed to write the Secret {name}: {source}")]
    Write { name: String, source: kube::Error },
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("failed to use a certificate of the authority: {0}")]
    Tls(#[from] rustls::Error),
    #[error("failed to read a certificate of the authority as PEM")]
    Pem,
}

/// What is remembered beside the authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// End of the authority that signs.
    until: Timestamp,
    /// End of the one that signs next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_until: Option<Timestamp>,
    /// When the last step was taken.
    since: Timestamp,
    /// What [`ROTATE`] said when the last authority was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<String>,
}

/// What certificates are made with now.
#[derive(Debug)]
pub struct Current {
    pub(crate) signer: Signer,
    /// Authorities to trust, as PEM.
    pub(crate) trusted: String,
    pub(crate) trust: String,
    authority: Authority,
    state: State,
    /// What the operator shows to processes.
    caller: Arc<ClientConfig>,
    caller_until: Timestamp,
}

/// The authority and who has its certificates.
#[derive(Debug)]
pub struct Certificates {
    pub(crate) options: AuthorityOptions,
    current: Mutex<Option<Arc<Current>>>,
    /// What a rotation was said to wait for last.
    waiting: Mutex<Option<String>>,
    /// What pods reported of their certificate last, by the pod's UID.
    reported: Mutex<HashMap<String, String>>,
}

/// What a look at the authority needs of the operator.
pub(crate) struct Surroundings<'a> {
    pub(crate) client: &'a Client,
    pub(crate) children: &'a ChildStore,
    pub(crate) scopes: &'a [Option<String>],
    pub(crate) field_manager: &'a str,
}

impl Surroundings<'_> {
    /// Whether the lists of all children are there.
    fn is_complete(&self) -> bool {
        self.scopes.iter().all(|scope| self.children.is_complete(scope.as_deref()))
    }
}

impl Certificates {
    pub fn new(options: AuthorityOptions) -> Self {
        Self {
            options,
            current: Mutex::default(),
            waiting: Mutex::default(),
            reported: Mutex::default(),
        }
    }

    /// What certificates are made with; none before the authority was read.
    pub fn current(&self) -> Option<Arc<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the operator shows to a process whose certificate has this name.
    pub fn caller(&self, name: &str) -> Option<Caller> {
        let name = ServerName::try_from(name.to_owned()).ok()?;
        Some(Caller { config: Arc::clone(&self.current()?.caller), name })
    }

    pub fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// Notes what a pod reported.
    pub fn note(&self, pod: &PodView) {
        let Some(report) = &pod.report else { return };
        self.reported().insert(pod.uid.clone(), report.identity_hash.clone());
    }

    fn reported(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the authority from time to time; never ends. `changed` is called with the owners of
    /// certificates when these must be written anew.
    pub(crate) async fn run(&self, around: &Surroundings<'_>, changed: impl Fn(Vec<Owner>)) {
        let mut said = String::new();
        loop {
            match self.look(around).await {
                Ok(is_new) => {
                    said.clear();
                    if is_new {
                        let all = around.children.certificates();
                        changed(all.into_iter().map(|(owner, ..)| owner).collect());
                    }
                }
                Err(error) => {
                    // The same trouble is said once.
                    let text = error.to_string();
                    if text != said {
                        error!(error = text, "the certificate authority cannot be looked after");
                        said = text;
                    }
                }
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// How long to wait with the next look: not for long while a step waits for pods alone.
    fn pause(&self) -> Duration {
        let look = self.options.look;
        let Some(current) = self.current() else { return look.min(SOON) };
        let is_over = has_waited(current.state.since, self.now(), self.options.overlap);
        if current.authority.is_changing() && is_over { look.min(SOON) } else { look }
    }

    /// Reads the Secret, takes the next step if there is one, and takes over what is new. True when
    /// certificates must be written anew.
    pub(crate) async fn look(&self, around: &Surroundings<'_>) -> Result<bool, KeeperError> {
        let AuthorityOptions { namespace, name, authority_life: life, .. } = &self.options;
        let api: Api<Secret> = Api::namespaced(around.client.clone(), namespace);
        let read = |source| KeeperError::Read { name: name.clone(), source };
        let Some(secret) = api.get_opt(name).await.map_err(read)? else {
            if !self.options.gives {
                return Ok(false);
            }
            let (authority, state) = match self.current() {
                Some(current) => {
                    warn!(secret = name, "the Secret of the authority was gone and is restored");
                    (current.authority.clone(), current.state.clone())
                }
                None => self.first()?,
            };
            let created = self.secret(&authority, &state, None);
            let manager = Some(around.field_manager.to_owned());
            let params = PostParams { field_manager: manager, ..PostParams::default() };
            let written = api.create(&params, &created).await;
            written.map_err(|source| KeeperError::Write { name: name.clone(), source })?;
            return self.take_over(authority, state);
        };
        let data = secret.data.unwrap_or_default();
        let authority = Authority::read(&data)?;
        let state = self.state_of(&secret.metadata);
        let annotations = secret.metadata.annotations.as_ref();
        let asked = annotations.and_then(|all| all.get(ROTATE)).cloned();
        let is_new = self.take_over(authority.clone(), state.clone())?;
        self.forget_gone_pods(around);
        let now = self.now();
        let behind = if authority.is_changing() { self.behind(around) } else { None };
        let step = authority.step(&View {
            now,
            until: state.until,
            since: state.since,
            life: *life,
            overlap: self.options.overlap,
            is_asked: asked.is_some() && asked != state.asked,
            behind: behind.as_deref(),
        });
        if step == Step::Stay {
            self.tell_waiting(behind);
            return Ok(is_new);
        }
        let after = authority.after(step, now, *life)?;
        let end = |now| Wish { names: &[], title: "", now, life: *life }.until();
        let state = match step {
            Step::Publish => State { next_until: Some(end(now)), since: now, asked, ..state },
            Step::Switch => State {
                until: state.next_until.unwrap_or_else(|| end(now)),
                next_until: None,
                since: now,
                ..state
            },
            Step::Drop | Step::Stay => State { since: now, ..state },
        };
        let version = secret.metadata.resource_version;
        let patch = self.secret(&after, &state, version);
        let params = PatchParams::apply(around.field_manager).force();
        let written = api.patch(name, &params, &Patch::Apply(&patch)).await;
        written.map_err(|source| KeeperError::Write { name: name.clone(), source })?;
        info!(?step, until = %state.until, "the certificate authority");
        self.take_over(after, state)
    }

    /// Says once what a rotation waits for.
    fn tell_waiting(&self, waits: Option<String>) {
        let mut said = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != waits {
            if let Some(why) = &waits {
                info!(why, "the rotation of the certificate authority waits");
            }
            *said = waits;
        }
    }

    fn first(&self) -> Result<(Authority, State), KeeperError> {
        let (now, life) = (self.now(), self.options.authority_life);
        let authority = Authority::first(now, life)?;
        let until = Wish { names: &[], title: "", now, life }.until();
        info!(secret = self.options.name, %until, "a certificate authority was made");
        Ok((authority, State { until, next_until: None, since: now, asked: None }))
    }

    /// The annotation; a Secret without one is taken for as old as it is.
    fn state_of(&self, meta: &ObjectMeta) -> State {
        let stored = meta.annotations.as_ref().and_then(|all| all.get(STATE));
        stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| {
            let since = meta.creation_timestamp.as_ref().map_or_else(|| self.now(), |at| at.0);
            let life = self.options.authority_life;
            let until = Wish { names: &[], title: "", now: since, life }.until();
            State { until, next_until: None, since, asked: None }
        })
    }

    fn secret(
        &self,
        authority: &Authority,
        state: &State,
        resource_version: Option<String>,
    ) -> Secret {
        let state = serde_json::to_string(state).expect("texts and times are JSON");
        let part_of = (labels::PART_OF.to_owned(), labels::PART_OF_VALUE.to_owned());
        Secret {
            metadata: ObjectMeta {
                name: Some(self.options.name.clone()),
                namespace: Some(self.options.namespace.clone()),
                // Not the label of children: it belongs to no object.
                labels: Some(BTreeMap::from([part_of])),
                annotations: Some(BTreeMap::from([(STATE.to_owned(), state)])),
                resource_version,
                ..ObjectMeta::default()
            },
            data: Some(authority.data()),
            type_: Some("kubernetes.io/tls".to_owned()),
            ..Secret::default()
        }
    }

    /// Uses what was read or written. True when certificates must be written anew.
    fn take_over(&self, authority: Authority, state: State) -> Result<bool, KeeperError> {
        let (now, life) = (self.now(), self.options.certificate_life);
        let before = self.current();
        let is_same = before.as_ref().is_some_and(|before| before.authority == authority);
        if let Some(before) = &before
            && is_same
            && before.state == state
            && !is_due(before.caller_until, now, life)
        {
            return Ok(false);
        }
        let signer = Signer::new(&authority.signing)?;
        let names = [OPERATOR_NAME.to_owned()];
        let wish = Wish { names: &names, title: "orrery-operator", now, life };
        let (trusted, trust) = (authority.trusted(), authority.trust());
        let caller = Arc::new(client_config(&signer.issue(&wish)?, &trusted)?);
        let caller_until = wish.until();
        let current = Current { signer, trusted, trust, authority, state, caller, caller_until };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(current));
        Ok(!is_same)
    }

    /// Drops what pods reported that are gone.
    fn forget_gone_pods(&self, around: &Surroundings<'_>) {
        if !around.is_complete() {
            return;
        }
        let pods = around.children.secured_pods();
        let living: HashSet<&str> = pods.iter().map(|(_, pod)| pod.view.uid.as_str()).collect();
        self.reported().retain(|uid, _| living.contains(uid.as_str()));
    }

    /// What of the installation does not have the newest certificates yet.
    fn behind(&self, around: &Surroundings<'_>) -> Option<String> {
        if !around.is_complete() {
            return Some("not everything is known yet".to_owned());
        }
        let current = self.current()?;
        let all = around.children.certificates();
        let newest: HashMap<(&str, String), &Mark> = all
            .iter()
            .map(|(owner, _, mark)| ((&*owner.namespace, labels::label_value(&owner.name)), mark))
            .collect();
        let reported = self.reported();
        let pods: Vec<_> = around
            .children
            .secured_pods()
            .into_iter()
            .map(|((namespace, _, object), pod)| {
                let own = newest.get(&(namespace.as_str(), object));
                let wanted = own.map(|mark| mark.hash.clone());
                let name = format!("{namespace}/{}", pod.view.name);
                (name, wanted, reported.get(&pod.view.uid).cloned())
            })
            .collect();
        let secrets: Vec<(String, Mark)> = all
            .into_iter()
            .map(|(owner, name, mark)| (format!("{}/{name}", owner.namespace), mark))
            .collect();
        behind(current.signer.mark(), &current.trust, &secrets, &pods)
    }
}

fn client_config(pair: &Pair, trusted: &str) -> Result<ClientConfig, KeeperError> {
    let certificates = |text: &str| -> Result<Vec<_>, KeeperError> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        all.map_err(|_| KeeperError::Pem)
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(trusted)? {
        roots.add(certificate)?;
    }
    let key = PrivateKeyDer::from_pem_slice(pair.key.expose().as_bytes());
    let key = key.map_err(|_| KeeperError::Pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&pair.certificate)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
