//! The messages of `grpc/reflection/v1/reflection.proto`, as far as they are used. Those of `v1alpha` are
//! the same. Members of a `oneof` are fields of their own on the wire.

/// `ServerReflectionRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
}

impl Request {
    /// For the file that has this service.
    pub(super) fn symbol(name: &str) -> Self {
        Self { file_by_filename: None, file_containing_symbol: Some(name.to_owned()) }
    }

    /// What it asks for.
    pub(super) fn into_name(self) -> String {
        self.file_by_filename.or(self.file_containing_symbol).unwrap_or_default()
    }

    /// For a file.
    pub(super) fn file(name: &str) -> Self {
        Self { file_by_filename: Some(name.to_owned()), file_containing_symbol: None }
    }
}

/// `ServerReflectionResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "4")]
    pub(super) files: Option<Files>,
    #[prost(message, optional, tag = "7")]
    pub(super) error: Option<ErrorResponse>,
}

/// `FileDescriptorResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Files {
    /// Each a `FileDescriptorProto`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) file: Vec<Vec<u8>>,
}

/// `ErrorResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ErrorResponse {
    /// A status code of gRPC.
    #[prost(int32, tag = "1")]
    pub(super) error_code: i32,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}
