//! Checks of fields that every engine has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use orrery_api::spec::{EngineSpec, Quantity, ResourceRequirements, Storage};
use orrery_api::{Reason, not_yet};
use orrery_runtime::rollout::window;
use orrery_runtime::{Carrier, Redacted, Referenced, Refusal};

use crate::policy;

/// The refusal of the first field that is asked for and not carried out yet.
pub(crate) fn not_yet(kind: &str, asked: &[(&str, bool)]) -> Result<(), Refusal> {
    let Some((field, _)) = asked.iter().find(|(_, asked)| *asked) else { return Ok(()) };
    let message = match not_yet::of(kind, field) {
        Some(entry) => {
            format!("{field}: {} is not carried out yet; {}", entry.values, entry.instead)
        }
        None => format!("{field} is not carried out yet"),
    };
    Err(Refusal::field(Reason::NotYetSupported, field, message))
}

pub(crate) fn storage(storage: &Storage) -> Result<(), Refusal> {
    let field = "spec.storage.size";
    match storage.size.value() {
        Ok(bytes) if bytes > 0 => Ok(()),
        Ok(_) => {
            Err(Refusal::field(Reason::InvalidSpec, field, format!("{field} must be above 0")))
        }
        Err(error) => Err(Refusal::field(Reason::InvalidSpec, field, format!("{field}: {error}"))),
    }
}

pub(crate) fn windows(engine: &EngineSpec) -> Result<(), Refusal> {
    let field = "spec.maintenanceWindows";
    let checked = window::check(&engine.maintenance_windows);
    checked.map_err(|error| Refusal::field(Reason::InvalidSpec, field, error.to_string()))
}

/// Refuses amounts Kubernetes would refuse, and requests above their limits.
pub(crate) fn amounts(resources: &ResourceRequirements) -> Result<(), Refusal> {
    amounts_of("spec.resources", resources)
}

/// The same of the field of this name.
pub(crate) fn amounts_of(of: &str, resources: &ResourceRequirements) -> Result<(), Refusal> {
    for (part, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for (name, quantity) in amounts {
            milli(&format!("{of}.{part}.{name}"), quantity)?;
        }
    }
    for (name, request) in &resources.requests {
        let field = format!("{of}.requests.{name}");
        let Some(limit) = resources.limits.get(name) else { continue };
        if milli(&field, request)? > milli(&field, limit)? {
            let message = format!("{field} {request} is above the limit {limit}");
            return Err(Refusal::field(Reason::InvalidSpec, &field, message));
        }
    }
    Ok(())
}

fn milli(field: &str, quantity: &Quantity) -> Result<i128, Refusal> {
    quantity
        .milli()
        .map_err(|error| Refusal::field(Reason::InvalidSpec, field, format!("{field}: {error}")))
}

/// The first field that one machine cannot carry out, of those asked for.
pub(crate) fn on_this_carrier(
    carrier: Carrier,
    asked: &[(&str, bool, &str)],
) -> Result<(), Refusal> {
    if carrier == Carrier::Local
        && let Some((field, _, message)) = asked.iter().find(|(_, asked, _)| *asked)
    {
        return Err(Refusal::field(Reason::NotOnThisCarrier, field, *message));
    }
    Ok(())
}

/// What is in a Secret that the spec names.
pub(crate) fn content<'a>(
    inputs: &'a Referenced,
    secret: &str,
    field: &str,
) -> Result<&'a BTreeMap<String, Vec<u8>>, Refusal> {
    inputs.secrets.get(secret).map(Redacted::expose).ok_or_else(|| {
        Refusal::field(Reason::RefNotFound, field, format!("there is no Secret {secret}"))
    })
}

/// The pod with the user's changes must be one that every namespace admits and the carrier can run.
pub(crate) fn pod(template: &PodTemplateSpec, carrier: Carrier) -> Result<(), Refusal> {
    let field = "spec.podTemplate";
    let Some(spec) = &template.spec else { return Ok(()) };
    let violations = policy::violations(spec);
    if !violations.is_empty() {
        let message = format!(
            "{field} breaks the restricted pod security profile: {}",
            violations.join("; ")
        );
        return Err(Refusal::field(Reason::InvalidSpec, field, message));
    }
    let extra = spec.containers.len() > 1 || spec.init_containers.iter().flatten().next().is_some();
    if carrier == Carrier::Local && extra {
        let message =
            format!("{field}: other containers cannot run on one machine without Kubernetes");
        return Err(Refusal::field(Reason::NotOnThisCarrier, field, message));
    }
    Ok(())
}
