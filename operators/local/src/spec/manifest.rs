//! From files to a set of objects, or to everything that is wrong with them.
//!
//! Must not: start anything. All files together are one set: either all of it can be carried out, or
//! none of it is, so that a half-finished edit never takes half an effect.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use jiff::Timestamp;
use kube_cel::Validator;
use orrery_runtime::{Redacted, Reference, Referenced, Refusal};
use serde_json::Value as Json;

use super::document::{Content, Document, read_document};
use super::problem::{Place, Problem};
use super::source::SourceFile;
use super::suggest;
use super::yaml;
use crate::kinds::{DeclaredKind, KindInfo, Kinds, Release};
use crate::objects::Key;

/// A set of objects that can be carried out.
#[derive(Debug, Default)]
pub struct Manifest {
    /// Objects of our kinds in the order of the files, with defaults.
    pub objects: Vec<Declaration>,
    /// What objects may point to.
    pub references: References,
    /// What engines get of declared objects.
    pub given: BTreeMap<Key, Json>,
}

/// One object, and where it comes from.
#[derive(Debug, Clone)]
pub struct Declaration {
    pub key: Key,
    pub object: Json,
    /// None for an engine that exists because something needs it.
    pub source: Option<PathBuf>,
}

/// Content of a Secret by key.
pub type SecretContent = Redacted<BTreeMap<String, Vec<u8>>>;

/// Secrets and config maps of the user, by namespace and name.
#[derive(Debug, Clone, Default)]
pub struct References {
    pub secrets: BTreeMap<(String, String), SecretContent>,
    pub config_maps: BTreeMap<(String, String), BTreeMap<String, String>>,
}

impl References {
    /// What an object's references lead to; the name of the first that leads nowhere.
    pub fn find(&self, namespace: &str, wanted: &[Reference]) -> Result<Referenced, String> {
        let mut found = Referenced::default();
        for reference in wanted {
            match reference {
                Reference::Secret(name) => {
                    let secret = self.secrets.get(&(namespace.to_owned(), name.clone()));
                    let secret = secret.ok_or_else(|| format!("Secret {name}"))?;
                    found.secrets.insert(name.clone(), secret.clone());
                }
                Reference::Backup(name) => return Err(format!("Backup {name}")),
                Reference::ConfigMap(name) => {
                    let map = self.config_maps.get(&(namespace.to_owned(), name.clone()));
                    let map = map.ok_or_else(|| format!("ConfigMap {name}"))?;
                    found.config_maps.insert(name.clone(), map.clone());
                }
            }
        }
        Ok(found)
    }

    /// What the references of declared objects of a namespace lead to; of those that lead nowhere, why.
    pub fn of_declared(
        &self,
        kind: &dyn DeclaredKind,
        namespace: &str,
        objects: &[&Json],
    ) -> Vec<Result<Referenced, Refusal>> {
        let found = |object: &&Json| {
            let references = kind.references(object)?;
            self.find(namespace, &references).map_err(|name| {
                let message =
                    format!("{name} is not declared in namespace {namespace}; add it to the files");
                Refusal::object(orrery_api::Reason::RefNotFound, message)
            })
        };
        objects.iter().map(found).collect()
    }
}

/// Reads all files. `old` are the objects as they were last accepted: rules about changes compare
/// with them.
pub fn load(
    files: &[SourceFile],
    kinds: &Kinds,
    release: &Release,
    old: &BTreeMap<Key, Json>,
) -> Result<Manifest, Vec<Problem>> {
    let mut loader = Loader { kinds, release, old, problems: Vec::new(), documents: Vec::new() };
    for file in files {
        loader.read(file);
    }
    loader.check_twice();
    loader.check_rules();
    // What follows needs objects that are right in themselves.
    if !loader.problems.is_empty() {
        return Err(loader.sorted());
    }
    let manifest = loader.assemble();
    if loader.problems.is_empty() { Ok(manifest) } else { Err(loader.sorted()) }
}

struct Loader<'a> {
    kinds: &'a Kinds,
    release: &'a Release,
    old: &'a BTreeMap<Key, Json>,
    problems: Vec<Problem>,
    documents: Vec<Document>,
}

impl Loader<'_> {
    fn read(&mut self, file: &SourceFile) {
        match yaml::parse(&file.text) {
            Ok(nodes) => {
                for node in nodes {
                    match read_document(&file.path, node, self.kinds) {
                        Ok(document) => self.documents.push(document),
                        Err(problems) => self.problems.extend(problems),
                    }
                }
            }
            Err(error) => self.problems.push(Problem {
                file: file.path.clone(),
                place: error.place,
                field: String::new(),
                message: error.message,
            }),
        }
    }

    fn sorted(self) -> Vec<Problem> {
        let mut problems = self.problems;
        problems.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
        problems.dedup();
        problems
    }

    fn check_twice(&mut self) {
        let mut first: HashMap<&Key, (&PathBuf, Place)> = HashMap::new();
        for document in &self.documents {
            let place = document.node.locate("metadata.name");
            if let Some((file, at)) = first.get(&document.key) {
                let message = format!(
                    "{} is declared twice; first in {}:{}",
                    document.key,
                    file.display(),
                    at.line
                );
                self.problems.push(document.problem("metadata.name", message));
            } else {
                first.insert(&document.key, (&document.file, place));
            }
        }
    }

    /// The validation rules of the definitions, in CEL, over objects with their defaults.
    fn check_rules(&mut self) {
        let validator = Validator::new();
        for document in &self.documents {
            let Content::Object(object) = &document.content else { continue };
            let Some(info) = self.kinds.find(&document.key.kind) else { continue };
            let old = self.old.get(&document.key);
            if let Err(errors) = validator.validate(&info.schema, object, old) {
                for error in errors.into_vec() {
                    self.problems.push(document.problem(&error.field_path, error.message));
                }
            }
        }
    }

    fn assemble(&mut self) -> Manifest {
        let mut manifest = Manifest::default();
        let documents = std::mem::take(&mut self.documents);
        for document in &documents {
            let key = (document.key.namespace.clone(), document.key.name.clone());
            match &document.content {
                Content::Object(object) => manifest.objects.push(Declaration {
                    key: document.key.clone(),
                    object: object.clone(),
                    source: Some(document.file.clone()),
                }),
                Content::Secret(secret) => {
                    manifest.references.secrets.insert(key, secret.clone());
                }
                Content::ConfigMap(map) => {
                    manifest.references.config_maps.insert(key, map.clone());
                }
                Content::Nothing => {}
            }
        }
        let by_key: HashMap<&Key, &Document> =
            documents.iter().map(|document| (&document.key, document)).collect();
        self.add_default_engines(&mut manifest, &by_key);
        self.check_engines(&manifest, &by_key);
        manifest.given = self.check_declared(&manifest, &by_key);
        manifest
    }

    /// Engines named `default` that declared objects need and nobody declared.
    fn add_default_engines(&mut self, manifest: &mut Manifest, by_key: &HashMap<&Key, &Document>) {
        let mut missing: BTreeMap<Key, Json> = BTreeMap::new();
        for declaration in &manifest.objects {
            let Some(declared) = self.kinds.declared_of(&declaration.key.kind) else { continue };
            let (name, named) = match declared.engine(&declaration.object) {
                Ok(engine) => engine,
                Err(refusal) => {
                    self.refuse(by_key, &declaration.key, &refusal);
                    continue;
                }
            };
            let namespace = declaration.key.namespace.clone();
            let key = Key { kind: declared.engine_kind(), namespace, name };
            let declares = |key: &Key| manifest.objects.iter().any(|object| object.key == *key);
            if declares(&key) || self.old.contains_key(&key) && named {
                continue;
            }
            if named {
                let names = manifest.objects.iter().filter(|object| {
                    object.key.kind == key.kind && object.key.namespace == key.namespace
                });
                let hint = suggest::hint(&key.name, names.map(|object| object.key.name.as_str()));
                let message = format!("belongs to {key}, which is not declared{hint}");
                if let Some(document) = by_key.get(&declaration.key) {
                    self.problems.push(document.problem("spec", message));
                }
                continue;
            }
            let mut object = declared.default_engine();
            object["metadata"]["name"] = Json::from(key.name.clone());
            object["metadata"]["namespace"] = Json::from(key.namespace.clone());
            if let Some(info) = self.kinds.find(&key.kind) {
                super::defaults::apply(&info.schema, &mut object);
            }
            missing.insert(key, object);
        }
        for (key, object) in missing {
            manifest.objects.push(Declaration { key, object, source: None });
        }
    }

    /// What schema and rules cannot say: each system's own validation.
    fn check_engines(&mut self, manifest: &Manifest, by_key: &HashMap<&Key, &Document>) {
        for Declaration { key, object, .. } in &manifest.objects {
            let Some(engine) = self.kinds.engine_of(&key.kind) else { continue };
            let built = engine.references(object).and_then(|references| {
                let found = manifest.references.find(&key.namespace, &references);
                let found = found.map_err(|name| {
                    let message = format!(
                        "{name} is not declared in namespace {}; add it to the files",
                        key.namespace
                    );
                    Refusal::object(orrery_api::Reason::RefNotFound, message)
                })?;
                engine.build(object, found, self.release)
            });
            if let Err(refusal) = built {
                self.refuse(by_key, key, &refusal);
            }
        }
    }

    /// What engines would get of declared objects, or why not.
    fn check_declared(
        &mut self,
        manifest: &Manifest,
        by_key: &HashMap<&Key, &Document>,
    ) -> BTreeMap<Key, Json> {
        let mut given = BTreeMap::new();
        for declared in &self.kinds.declared {
            let mut engines: BTreeMap<(String, String), Vec<&Declaration>> = BTreeMap::new();
            let own = |d: &&Declaration| d.key.kind == declared.info().kind;
            for declaration in manifest.objects.iter().filter(own) {
                if let Ok((engine, _)) = declared.engine(&declaration.object) {
                    let of = (declaration.key.namespace.clone(), engine);
                    engines.entry(of).or_default().push(declaration);
                }
            }
            for mut siblings in engines.into_values() {
                // Those that were there before are the elder ones.
                siblings.sort_by_key(|declaration| !self.old.contains_key(&declaration.key));
                let objects: Vec<&Json> = siblings.iter().map(|d| &d.object).collect();
                let namespace = siblings.first().map_or("", |first| &first.key.namespace);
                let inputs =
                    manifest.references.of_declared(declared.as_ref(), namespace, &objects);
                let answers = declared.validate(&objects, &inputs);
                for (declaration, answer) in siblings.iter().zip(answers) {
                    let key = &declaration.key;
                    let now = Timestamp::now();
                    let checked = answer.and_then(|spec| {
                        if let Some(outlook) = self.kinds.outlooks.get(&key.kind) {
                            outlook(&key.name, None, &spec, now)?;
                        }
                        Ok(spec)
                    });
                    match checked {
                        Ok(spec) => _ = given.insert(key.clone(), spec),
                        Err(refusal) => self.refuse(by_key, key, &refusal),
                    }
                }
            }
        }
        given
    }

    fn refuse(&mut self, by_key: &HashMap<&Key, &Document>, key: &Key, refusal: &Refusal) {
        let field = refusal.field.as_deref().unwrap_or_default();
        // Many refusals begin with the field, which stands in front of the problem already.
        let message = refusal.message.strip_prefix(field).unwrap_or(&refusal.message);
        let message = message.trim_start_matches([':', ' ']);
        let message = format!("{message} ({})", refusal.reason);
        match by_key.get(key) {
            Some(document) => self.problems.push(document.problem(field, message)),
            // An engine nobody wrote: said at whatever needs it.
            None => self.problems.push(Problem {
                file: PathBuf::from(key.to_string()),
                place: Place::default(),
                field: field.to_owned(),
                message,
            }),
        }
    }
}

/// Names of all kinds, for messages.
pub(super) fn kind_names(kinds: &Kinds) -> Vec<&str> {
    kinds.all().map(|info: &KindInfo| info.kind.as_str()).chain(["ConfigMap", "Secret"]).collect()
}
