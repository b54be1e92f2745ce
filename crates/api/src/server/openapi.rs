//! The description of both APIs, in the words of OpenAPI. It is a file of its own, and the tests hold it against the doors: paths and
//! methods, bounds, and what schemathesis makes of it.

use axum::http::StatusCode;

use super::respond::{self, Answer};

/// The description, OpenAPI 3.1 in JSON.
pub const OPENAPI: &str = include_str!("../../openapi.json");

pub(super) async fn describe() -> Answer {
    respond::written(StatusCode::OK, OPENAPI)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bonsai;
    use crate::server::limits::JSON_BYTES_MAX;
    use manyhands_proto::limits::{INPUT_BYTES_MAX, PROGRAM_BYTES_MAX, STREAMED_INPUT_BYTES_MAX};
    use serde_json::Value;
    use std::collections::BTreeMap;

    /// The largest bodies as they are described, by method and path.
    fn described() -> BTreeMap<String, Option<u64>> {
        let file: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut bounds = BTreeMap::new();
        for (path, methods) in file["paths"].as_object().unwrap() {
            for (method, call) in methods.as_object().unwrap() {
                if let Some(body) = call.get("requestBody") {
                    bounds.insert(format!("{method} {path}"), body["x-bytes-max"].as_u64());
                }
            }
        }
        bounds
    }

    #[test]
    fn bodies_are_described_as_large_as_they_may_be() {
        let taken = [
            ("put /v1/programs", PROGRAM_BYTES_MAX),
            ("put /v1/inputs", STREAMED_INPUT_BYTES_MAX),
            ("put /v1/nodes/{id}", JSON_BYTES_MAX),
            ("post /v1/jobs", JSON_BYTES_MAX),
            ("put /images/{id}", PROGRAM_BYTES_MAX),
            ("put /inputs/{id}", STREAMED_INPUT_BYTES_MAX),
            ("put /receipts/{id}", INPUT_BYTES_MAX),
            ("post /sessions/create", bonsai::JSON_BYTES_MAX),
            ("post /snark/create", bonsai::JSON_BYTES_MAX),
        ];
        assert_eq!(described(), taken.map(|(call, bytes)| (call.to_owned(), Some(bytes))).into());
    }
}
