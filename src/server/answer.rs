//! Answers: JSON, text, and errors in the same form as the program's.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::page::CONTENT_SECURITY_POLICY;
use crate::error::{Error, ErrorKind};

/// What Prometheus expects of its text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// An answer of this type, which nobody keeps or reinterprets.
fn of_type(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    (status, headers, body).into_response()
}

/// The metrics.
pub fn metrics(text: String) -> Response {
    of_type(StatusCode::OK, METRICS, text)
}

/// A page.
pub fn html(status: StatusCode, page: String) -> Response {
    let mut response = of_type(status, HTML, page);
    response.headers_mut().insert("content-security-policy", HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    response.headers_mut().insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    response
}

/// One JSON object.
pub fn json(status: StatusCode, facts: &impl Serialize) -> Response {
    match serde_json::to_string(facts) {
        Ok(text) => of_type(status, JSON, text + "\n"),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
    }
}

/// What went wrong.
pub fn error(error: &Error) -> Response {
    failure(status(error), &error.kind().to_string().replace(' ', "_"), &error.to_string())
}

/// The status that an error has.
pub fn status(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Busy | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The same in words.
pub fn failure(status: StatusCode, kind: &str, message: &str) -> Response {
    let object = json!({ "error": { "kind": kind, "message": message } });
    let mut response = of_type(status, JSON, format!("{object}\n"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
