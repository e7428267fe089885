//! Stands in for the review decoder until `spec::review` is there.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The request of a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a> {
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) sub_resource: String,
    #[serde(default)]
    pub(crate) dry_run: bool,
    #[serde(borrow, default)]
    pub(crate) object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) old_object: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Kind {
    #[serde(default)]
    pub(crate) kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

pub(crate) fn decode(body: &[u8]) -> Result<Request<'_>, String> {
    let review: Review<'_> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if review.api_version != "admission.k8s.io/v1" || review.kind != "AdmissionReview" {
        return Err(format!("{}/{}: expected admission.k8s.io/v1 AdmissionReview", review.api_version, review.kind));
    }
    review.request.ok_or_else(|| "review has no request".to_owned())
}
