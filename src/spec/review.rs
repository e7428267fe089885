//! AdmissionReview v1: a request decoded by borrowing, and the response.
//!
//! The object stays raw text until a reader asks for a part of it; what nobody reads (user, options) is
//! skipped and never allocated.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::pod::or_default;

/// The only version that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";

/// Text that is no review that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The body is no JSON, too deep, cut short or of the wrong shape.
    #[error("the body is no AdmissionReview: {0}")]
    Malformed(String),
    /// Another API version.
    #[error("apiVersion is `{0}`; only {API_VERSION} is understood")]
    Version(String),
    /// There is no request in the review, or it has no uid.
    #[error("the review has no request with a uid")]
    NoRequest,
}

/// What the API server asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Copied into the response.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// Kind of the object.
    #[serde(borrow, default)]
    pub kind: GroupVersionKind<'a>,
    /// Resource that was requested.
    #[serde(borrow, default)]
    pub resource: GroupVersionResource<'a>,
    /// Subresource, e.g. `resize`; absent for the object itself.
    #[serde(borrow, default)]
    pub sub_resource: Option<Cow<'a, str>>,
    /// Name; absent on CREATE with `generateName`.
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    /// Namespace; absent for cluster-wide objects.
    #[serde(borrow, default)]
    pub namespace: Option<Cow<'a, str>>,
    /// What is done to the object.
    #[serde(default)]
    pub operation: Operation,
    /// Nothing will be stored.
    #[serde(default, deserialize_with = "or_default")]
    pub dry_run: bool,
    /// The object as it would be stored; absent on DELETE.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object as it is stored now; absent on CREATE.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// A stream is opened (`exec`, `proxy`).
    Connect,
    /// Something that this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl Operation {
    /// As the API server writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Other => "OTHER",
        }
    }
}

/// Kind of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct GroupVersionKind<'a> {
    /// API group; empty for the core.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// Version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Kind, e.g. `Pod`.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
}

/// Resource of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct GroupVersionResource<'a> {
    /// API group; empty for the core.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// Version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Plural, e.g. `pods`.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
}

/// Decodes a review. Nesting deeper than serde_json's limit of 128 is an error, also inside the object.
///
/// # Errors
/// When the body is no review that can be answered.
pub fn parse(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Review<'a> {
        #[serde(borrow, default)]
        api_version: Cow<'a, str>,
        #[serde(borrow, default)]
        request: Option<Request<'a>>,
    }
    let review: Review<'_> = serde_json::from_slice(body).map_err(|error| ReviewError::Malformed(error.to_string()))?;
    if review.api_version != API_VERSION {
        return Err(ReviewError::Version(super::numbers::shown(&review.api_version)));
    }
    review.request.filter(|request| !request.uid.is_empty()).ok_or(ReviewError::NoRequest)
}

/// The answer to a review.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Response {
    /// Uid of the request.
    pub uid: String,
    /// Whether the object is admitted.
    pub allowed: bool,
    /// Why not; written when `allowed` is false.
    pub status: Option<Status>,
    /// Lines for the person who runs kubectl; cut to Kubernetes' limits when written.
    pub warnings: Vec<String>,
    /// Keys without prefix (the API server adds the webhook's name) and their values.
    pub audit_annotations: BTreeMap<String, String>,
    /// JSON patch operations; none is no patch.
    pub patch: Vec<serde_json::Value>,
}

/// Why an object is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// HTTP status that kubectl sees, e.g. 403.
    pub code: u16,
    /// Machine-readable reason, e.g. `TOO_BIG`.
    pub reason: String,
    /// For people; made a single line when written.
    pub message: String,
}

impl Response {
    /// Admits the object without a word.
    #[must_use]
    pub fn allow(uid: impl Into<String>) -> Self {
        Self { uid: uid.into(), allowed: true, ..Self::default() }
    }

    /// Refuses the object.
    #[must_use]
    pub fn deny(uid: impl Into<String>, code: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        let status = Status { code, reason: reason.into(), message: message.into() };
        Self { uid: uid.into(), status: Some(status), ..Self::default() }
    }

    /// The whole AdmissionReview as JSON text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Review<'a> {
            api_version: &'static str,
            kind: &'static str,
            response: Body<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            uid: &'a str,
            allowed: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<Status>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            warnings: Vec<String>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            audit_annotations: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            patch_type: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            patch: Option<String>,
        }
        let status = self
            .status
            .as_ref()
            .filter(|_| !self.allowed)
            .map(|status| Status { message: text::deny_message(&status.message), ..status.clone() });
        let patched = self.allowed && !self.patch.is_empty();
        let patch = patched.then(|| serde_json::to_vec(&self.patch).unwrap_or_default());
        let review = Review {
            api_version: API_VERSION,
            kind: "AdmissionReview",
            response: Body {
                uid: &self.uid,
                allowed: self.allowed,
                status,
                warnings: text::warnings(&self.warnings),
                audit_annotations: &self.audit_annotations,
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch: patch.map(|bytes| text::base64(&bytes)),
            },
        };
        // Strings, numbers and string keys always serialize.
        serde_json::to_vec(&review).unwrap_or_default()
    }
}

mod text;

#[cfg(test)]
mod tests;
