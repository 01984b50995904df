//! Descriptors without all that calls do not need.
//!
//! The library that compiles descriptors is made for those of a compiler and takes their form on trust:
//! a map without a key, or a packed text, ends the process. What remains here has no such thing.

use std::collections::BTreeMap;

use prost_reflect::DescriptorPool;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FieldOptions, FileDescriptorProto,
    MessageOptions,
};

use super::note;

/// Imports of imports, as deep as they are followed: deeper than anybody nests them.
const DEPTH_MAX: usize = 64;

/// What files come to, with the types of Google, which targets often leave out; a sentence why there is
/// nothing.
pub(super) fn compile(
    files: BTreeMap<String, FileDescriptorProto>,
) -> Result<DescriptorPool, String> {
    let mut pool = DescriptorPool::global();
    let mut left: BTreeMap<_, _> =
        files.into_iter().filter(|(name, _)| pool.get_file_by_name(name).is_none()).collect();
    // Each file after those that it imports; the library would follow a circle without end.
    for _ in 0..DEPTH_MAX {
        if left.is_empty() {
            return Ok(pool);
        }
        let (ready, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            left.into_iter().partition(|(_, file)| {
                file.dependency.iter().all(|name| pool.get_file_by_name(name).is_some())
            });
        if ready.is_empty() {
            break;
        }
        let ready = ready.into_values().map(plain);
        pool.add_file_descriptor_protos(ready).map_err(|error| note::of_error(&error))?;
        left = rest;
    }
    Err("its imports lead in a circle, or too deep".to_owned())
}

/// The same file without options, extensions and defaults.
fn plain(mut file: FileDescriptorProto) -> FileDescriptorProto {
    // Newer editions leave what a field is to options, which are not read here.
    file.syntax = file.syntax.filter(|syntax| syntax == "proto3");
    file.options = None;
    file.source_code_info = None;
    file.extension.clear();
    file.message_type.iter_mut().for_each(plain_message);
    file.enum_type.iter_mut().for_each(plain_enum);
    for service in &mut file.service {
        service.options = None;
        service.method.iter_mut().for_each(|method| method.options = None);
    }
    // Places in the list of imports, which has its own bounds.
    let imports = 0..i32::try_from(file.dependency.len()).unwrap_or(i32::MAX);
    file.public_dependency.retain(|place| imports.contains(place));
    file.weak_dependency.clear();
    file
}

fn plain_message(message: &mut DescriptorProto) {
    message.extension.clear();
    message.extension_range.clear();
    message.options = is_map_entry(message)
        .then(|| MessageOptions { map_entry: Some(true), ..MessageOptions::default() });
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.field.iter_mut().for_each(plain_field);
    message.nested_type.iter_mut().for_each(plain_message);
    message.enum_type.iter_mut().for_each(plain_enum);
}

/// Whether it says that it is the entry of a map, and has what one has.
fn is_map_entry(message: &DescriptorProto) -> bool {
    let says_so = message.options.as_ref().is_some_and(MessageOptions::map_entry);
    let [key, value] = &message.field[..] else { return false };
    let is_single = |field: &FieldDescriptorProto, name: &str, number: i32| {
        field.name() == name
            && field.number() == number
            && field.label() == Label::Optional
            && field.oneof_index.is_none()
    };
    let is_key = !matches!(
        key.r#type(),
        Type::Double | Type::Float | Type::Group | Type::Message | Type::Bytes | Type::Enum
    );
    says_so
        && is_single(key, "key", 1)
        && is_single(value, "value", 2)
        && is_key
        && key.type_name.is_none()
        && value.r#type() != Type::Group
}

fn plain_field(field: &mut FieldDescriptorProto) {
    field.default_value = None;
    let is_packable = field.label() == Label::Repeated
        && field.r#type.is_some()
        && !matches!(field.r#type(), Type::String | Type::Bytes | Type::Group | Type::Message);
    let packed = field.options.as_ref().and_then(|options| options.packed);
    field.options = packed
        .filter(|_| is_packable)
        .map(|packed| FieldOptions { packed: Some(packed), ..FieldOptions::default() });
}

fn plain_enum(numbers: &mut EnumDescriptorProto) {
    numbers.options = None;
    numbers.value.iter_mut().for_each(|value| value.options = None);
}

#[cfg(test)]
mod tests;
