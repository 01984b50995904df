//! The kinds this program knows, with their types taken off, so that files, objects and lists of
//! different kinds go through the same code.
//!
//! Must not: add rules of its own. Everything said about a kind comes from its definition
//! (schema, columns, names) and from the pure functions of its system.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use jiff::Timestamp;
use kube::{CustomResourceExt, Resource};
use orrery_api::{CommonStatus, Reason};
use orrery_runtime::{
    Acceptance, Carrier, Declared, Identity, Mode, Observation, Prepared, Reference, Referenced,
    Refusal, Resources, Standing, System,
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// Names, schema and columns of a kind.
#[derive(Debug, Clone)]
pub struct KindInfo {
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    /// `orrery.dev/v1alpha1`.
    pub api_version: String,
    /// The structural schema of the whole object.
    pub schema: Json,
    pub columns: Vec<Column>,
    /// The definition as it is installed in a cluster.
    pub definition: Json,
}

/// One printer column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `date` …
    pub kind: String,
    pub path: String,
    /// Above 0: shown in wide lists only.
    pub priority: i32,
}

impl KindInfo {
    fn of<K: CustomResourceExt>() -> Self {
        let definition = serde_json::to_value(K::crd()).unwrap_or_default();
        let text = |pointer: &str| {
            definition.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned()
        };
        let version = definition.pointer("/spec/versions/0").cloned().unwrap_or_default();
        let columns = version.get("additionalPrinterColumns").and_then(Json::as_array);
        let column = |column: &Json| {
            let text = |key: &str| column[key].as_str().unwrap_or_default().to_owned();
            Column {
                name: text("name"),
                kind: text("type"),
                path: text("jsonPath"),
                priority: column["priority"].as_i64().unwrap_or(0) as i32,
            }
        };
        let short_names = definition.pointer("/spec/names/shortNames").and_then(Json::as_array);
        Self {
            kind: text("/spec/names/kind"),
            plural: text("/spec/names/plural"),
            singular: text("/spec/names/singular"),
            short_names: short_names
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
            api_version: format!("{}/{}", text("/spec/group"), text("/spec/versions/0/name")),
            schema: version.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default(),
            columns: columns.into_iter().flatten().map(column).collect(),
            definition,
        }
    }

    /// Whether a user means this kind by `name`.
    pub fn is_called(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let names = [&self.kind, &self.plural, &self.singular].into_iter().chain(&self.short_names);
        names.into_iter().any(|own| own.to_lowercase() == name)
    }
}

/// An engine kind without its types. Objects are JSON as in a file, with defaults filled in.
pub trait EngineKind: Debug {
    fn info(&self) -> &KindInfo;
    /// Short name of the system.
    fn system(&self) -> &'static str;
    fn mode(&self, object: &Json) -> Result<Mode, Refusal>;
    fn references(&self, object: &Json) -> Result<Vec<Reference>, Refusal>;
    /// Validates and builds.
    fn build(
        &self,
        object: &Json,
        found: Referenced,
        release: &Release,
    ) -> Result<Resources<Prepared>, Refusal>;
    fn status(&self, object: &Json, common: CommonStatus, seen: &Observation) -> Json;
}

/// A declared kind without its types.
pub trait DeclaredKind: Debug {
    fn info(&self) -> &KindInfo;
    /// Kind of the engine it belongs to.
    fn engine_kind(&self) -> String;
    /// The engine the object names, and whether it names one at all.
    fn engine(&self, object: &Json) -> Result<(String, bool), Refusal>;
    fn references(&self, object: &Json) -> Result<Vec<Reference>, Refusal>;
    /// What the engine gets of each object, in the order given; they are all of one engine, oldest
    /// first. With each is what its references lead to, or why they do not.
    fn validate(
        &self,
        objects: &[&Json],
        inputs: &[Result<Referenced, Refusal>],
    ) -> Vec<Result<Json, Refusal>>;
    /// What is worth saying of an object that its engine took over.
    fn standing(&self, object: &Json, said: &Acceptance) -> Standing;
    /// The engine that exists because something needs it.
    fn default_engine(&self) -> Json;
    fn status(&self, object: &Json, common: CommonStatus, said: Option<&Acceptance>) -> Json;
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub image: String,
    pub version: String,
}

/// Says what a change of a declared object of this name brings, or why its engine would refuse it: from
/// what the engine has of the object, if it has it, to what it would get.
pub type Outlook = fn(&str, Option<&Json>, &Json, Timestamp) -> Result<Vec<String>, Refusal>;

/// All kinds of this program.
#[derive(Debug, Default)]
pub struct Kinds {
    pub engines: Vec<Box<dyn EngineKind>>,
    pub declared: Vec<Box<dyn DeclaredKind>>,
    /// Of declared kinds whose changes can be told beforehand, by kind.
    pub outlooks: BTreeMap<String, Outlook>,
    /// Kinds that are read and checked, and carried out by a cluster alone.
    pub elsewhere: Vec<Elsewhere>,
}

/// A kind that one machine does not carry out.
#[derive(Debug)]
pub struct Elsewhere {
    pub info: KindInfo,
    /// Why, and what to do here.
    pub why: &'static str,
}

impl Kinds {
    /// Adds an engine kind.
    #[must_use]
    pub fn engine<S: System>(mut self) -> Self
    where
        S::Kind: CustomResourceExt,
    {
        let info = KindInfo::of::<S::Kind>();
        self.engines.push(Box::new(EngineOf::<S> { info, marker: PhantomData }));
        self
    }

    /// Adds a declared kind.
    #[must_use]
    pub fn declared<D: Declared>(mut self) -> Self
    where
        D::Kind: CustomResourceExt,
    {
        let info = KindInfo::of::<D::Kind>();
        self.declared.push(Box::new(DeclaredOf::<D> { info, marker: PhantomData }));
        self
    }

    /// Lets changes of a declared kind be told beforehand.
    #[must_use]
    pub fn outlook<D: Declared>(mut self, outlook: Outlook) -> Self {
        self.outlooks.insert(<D::Kind as Resource>::kind(&()).into_owned(), outlook);
        self
    }

    /// Adds a kind that is checked here and carried out by a cluster alone.
    #[must_use]
    pub fn elsewhere<K: CustomResourceExt>(mut self, why: &'static str) -> Self {
        self.elsewhere.push(Elsewhere { info: KindInfo::of::<K>(), why });
        self
    }

    /// Every kind, engines first.
    pub fn all(&self) -> impl Iterator<Item = &KindInfo> {
        let engines = self.engines.iter().map(|kind| kind.info());
        let elsewhere = self.elsewhere.iter().map(|kind| &kind.info);
        engines.chain(self.declared.iter().map(|kind| kind.info())).chain(elsewhere)
    }

    /// The kind a user means.
    pub fn find(&self, name: &str) -> Option<&KindInfo> {
        self.all().find(|info| info.is_called(name))
    }

    pub fn engine_of(&self, kind: &str) -> Option<&dyn EngineKind> {
        self.engines.iter().find(|engine| engine.info().kind == kind).map(Box::as_ref)
    }

    pub fn elsewhere_of(&self, kind: &str) -> Option<&Elsewhere> {
        self.elsewhere.iter().find(|elsewhere| elsewhere.info.kind == kind)
    }

    pub fn declared_of(&self, kind: &str) -> Option<&dyn DeclaredKind> {
        self.declared.iter().find(|declared| declared.info().kind == kind).map(Box::as_ref)
    }
}

struct EngineOf<S> {
    info: KindInfo,
    marker: PhantomData<fn() -> S>,
}

struct DeclaredOf<D> {
    info: KindInfo,
    marker: PhantomData<fn() -> D>,
}

impl<S> Debug for EngineOf<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EngineKind").field(&self.info.kind).finish()
    }
}

impl<D> Debug for DeclaredOf<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DeclaredKind").field(&self.info.kind).finish()
    }
}

/// The typed object. The schema has been checked, so what is left is what it cannot say.
fn typed<K: DeserializeOwned>(object: &Json) -> Result<K, Refusal> {
    K::deserialize(object).map_err(|error| Refusal::object(Reason::InvalidSpec, error.to_string()))
}

impl<S: System> EngineKind for EngineOf<S>
where
    S::Kind: Resource<DynamicType = ()>,
{
    fn info(&self) -> &KindInfo {
        &self.info
    }

    fn system(&self) -> &'static str {
        S::NAME
    }

    fn mode(&self, object: &Json) -> Result<Mode, Refusal> {
        Ok(S::mode(&typed(object)?))
    }

    fn references(&self, object: &Json) -> Result<Vec<Reference>, Refusal> {
        Ok(S::references(&typed(object)?))
    }

    fn build(
        &self,
        object: &Json,
        found: Referenced,
        release: &Release,
    ) -> Result<Resources<Prepared>, Refusal> {
        let object: S::Kind = typed(object)?;
        let validated = S::validate(&object, &S::Inputs::from(found), Carrier::Local)?;
        let identity = Identity::of(&object, &release.image, &release.version, Carrier::Local);
        Ok(S::build(&validated, &identity))
    }

    fn status(&self, object: &Json, common: CommonStatus, seen: &Observation) -> Json {
        match typed::<S::Kind>(object) {
            Ok(object) => {
                serde_json::to_value(S::summary(&object, S::status(&object), common, seen))
            }
            Err(_) => serde_json::to_value(common),
        }
        .unwrap_or_default()
    }
}

impl<D: Declared> DeclaredKind for DeclaredOf<D> {
    fn info(&self) -> &KindInfo {
        &self.info
    }

    fn engine_kind(&self) -> String {
        <<D::Engine as System>::Kind as Resource>::kind(&()).into_owned()
    }

    fn engine(&self, object: &Json) -> Result<(String, bool), Refusal> {
        let object = typed(object)?;
        Ok((D::engine_name(&object).to_owned(), D::engine_ref(&object).is_some()))
    }

    fn references(&self, object: &Json) -> Result<Vec<Reference>, Refusal> {
        Ok(D::references(&typed(object)?))
    }

    fn validate(
        &self,
        objects: &[&Json],
        inputs: &[Result<Referenced, Refusal>],
    ) -> Vec<Result<Json, Refusal>> {
        let typed: Vec<Result<D::Kind, Refusal>> = objects.iter().map(|o| typed(o)).collect();
        let siblings: Vec<&D::Kind> = typed.iter().filter_map(|o| o.as_ref().ok()).collect();
        typed
            .iter()
            .zip(inputs)
            .map(|pair| match pair {
                (Ok(object), Ok(inputs)) => {
                    D::on_one_machine(object)?;
                    D::validate(object, &siblings, inputs)
                }
                (Err(refusal), _) | (_, Err(refusal)) => Err(refusal.clone()),
            })
            .collect()
    }

    fn standing(&self, object: &Json, said: &Acceptance) -> Standing {
        typed::<D::Kind>(object).map_or_else(|_| Standing::default(), |o| D::standing(&o, said))
    }

    fn default_engine(&self) -> Json {
        serde_json::to_value(D::default_engine()).unwrap_or_default()
    }

    fn status(&self, object: &Json, common: CommonStatus, said: Option<&Acceptance>) -> Json {
        match typed::<D::Kind>(object) {
            Ok(object) => serde_json::to_value(D::summary(&object, common, said)),
            Err(_) => serde_json::to_value(common),
        }
        .unwrap_or_default()
    }
}
