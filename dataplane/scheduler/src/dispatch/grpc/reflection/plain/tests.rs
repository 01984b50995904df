use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::{EnumValueDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

use super::*;

fn field(name: &str, number: i32, kind: Type, label: Label) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    }
}

fn of_type(name: &str, field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto { type_name: Some(name.to_owned()), ..field }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

/// A file with a bit of everything.
fn file() -> FileDescriptorProto {
    let entry = DescriptorProto {
        options: Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() }),
        ..message(
            "LabelsEntry",
            vec![
                field("key", 1, Type::String, Label::Optional),
                field("value", 2, Type::Int64, Label::Optional),
            ],
        )
    };
    let packed = FieldOptions { packed: Some(true), ..FieldOptions::default() };
    let numbers = field("numbers", 3, Type::Sint32, Label::Repeated);
    let request = DescriptorProto {
        nested_type: vec![entry],
        ..message(
            "Request",
            vec![
                field("name", 1, Type::String, Label::Optional),
                of_type(
                    ".p.Request.LabelsEntry",
                    field("labels", 2, Type::Message, Label::Repeated),
                ),
                FieldDescriptorProto { options: Some(packed), ..numbers },
                of_type(".p.Kind", field("kind", 4, Type::Enum, Label::Optional)),
                of_type(".p.Request", field("next", 5, Type::Message, Label::Optional)),
                of_type(
                    ".google.protobuf.Timestamp",
                    field("at", 6, Type::Message, Label::Optional),
                ),
            ],
        )
    };
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        ..EnumValueDescriptorProto::default()
    };
    let kind = EnumDescriptorProto {
        name: Some("Kind".to_owned()),
        value: vec![value("NONE", 0), value("SOME", 1)],
        ..EnumDescriptorProto::default()
    };
    let method = MethodDescriptorProto {
        name: Some("M".to_owned()),
        input_type: Some(".p.Request".to_owned()),
        output_type: Some(".p.Request".to_owned()),
        ..MethodDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some("p.proto".to_owned()),
        package: Some("p".to_owned()),
        dependency: vec!["google/protobuf/timestamp.proto".to_owned()],
        message_type: vec![request],
        enum_type: vec![kind],
        service: vec![ServiceDescriptorProto {
            name: Some("S".to_owned()),
            method: vec![method],
            ..ServiceDescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}

const JSON: &str = r#"{"name": "a", "labels": {"x": "7"}, "numbers": [-1, 2], "kind": "SOME",
    "next": {"name": "b"}, "at": "2027-01-01T07:00:00Z"}"#;

/// Compiles what remains, and uses every message of it.
fn use_all(files: Vec<FileDescriptorProto>, bytes: &[u8]) -> Option<DescriptorPool> {
    let files = files.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    let pool = compile(files).ok()?;
    for message in pool.all_messages().filter(|message| message.package_name() == "p") {
        let mut json = serde_json::Deserializer::from_str(JSON);
        if let Ok(written) = DynamicMessage::deserialize(message.clone(), &mut json) {
            let written = written.encode_to_vec();
            let read = DynamicMessage::decode(message.clone(), &*written);
            let _ = serde_json::to_string(&read.expect("it was written here"));
        }
        if let Ok(read) = DynamicMessage::decode(message, bytes) {
            let _ = serde_json::to_string(&read);
        }
    }
    Some(pool)
}

#[test]
fn what_calls_need_remains() {
    let pool = use_all(vec![file()], b"").expect("it is right");
    let request = pool.get_message_by_name("p.Request").expect("it is there");
    let mut json = serde_json::Deserializer::from_str(JSON);
    let message = DynamicMessage::deserialize(request, &mut json).expect("it fits");
    let json: serde_json::Value = serde_json::to_value(&message).expect("it is JSON");
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(JSON).expect("it is JSON"));
}

#[test]
fn descriptors_that_no_compiler_makes_end_no_process() {
    let mut no_key = file();
    no_key.message_type[0].nested_type[0].field.remove(0);
    let mut no_fields = file();
    no_fields.message_type[0].nested_type[0].field.clear();
    let mut strange_key = file();
    strange_key.message_type[0].nested_type[0].field[0].r#type = Some(Type::Double.into());
    let mut is_map_itself = file();
    is_map_itself.message_type[0].options =
        Some(MessageOptions { map_entry: Some(true), ..MessageOptions::default() });
    let mut packed_text = file();
    packed_text.message_type[0].field[2].r#type = Some(Type::String.into());
    let mut no_values = file();
    no_values.enum_type[0].value.clear();
    let mut default_of_message = file();
    default_of_message.message_type[0].field[4].default_value = Some("x".to_owned());
    let mut imports_itself = file();
    imports_itself.dependency.push("p.proto".to_owned());
    imports_itself.public_dependency = vec![1, 7, -1];
    let mut other = file();
    other.name = Some("q.proto".to_owned());
    other.package = Some("q".to_owned());
    other.dependency.push("p.proto".to_owned());
    let mut first = file();
    first.dependency.push("q.proto".to_owned());
    let mut deep = message("Deep", vec![]);
    for _ in 0..40 {
        deep = DescriptorProto { nested_type: vec![deep], ..message("Deep", vec![]) };
    }
    let nested = FileDescriptorProto { message_type: vec![deep], ..file() };
    let mut twice = file();
    let again = twice.message_type[0].clone();
    twice.message_type.push(again);
    for files in [
        vec![no_key],
        vec![no_fields],
        vec![strange_key],
        vec![is_map_itself],
        vec![packed_text],
        vec![no_values],
        vec![default_of_message],
        vec![imports_itself],
        vec![first, other],
        vec![nested],
        vec![twice],
        vec![FileDescriptorProto::default()],
    ] {
        use_all(files, b"\x12\x04\x0a\x00\x10\x01\x1a\x02\x01\x02\x20\x01");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_bytes_of_a_target_end_the_process(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.1),
        bytes in proptest::collection::vec(any::<u8>(), 0..32),
    ) {
        let mut encoded = file().encode_to_vec();
        for (place, byte) in places {
            let place = place.index(encoded.len());
            encoded[place] = byte;
        }
        if is_cut {
            encoded.truncate(cut.index(encoded.len()));
        }
        if let Ok(file) = FileDescriptorProto::decode(&*encoded) {
            use_all(vec![file], &bytes);
        }
    }
}
