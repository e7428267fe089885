//! One GET: bounded in bytes, time and redirects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::error::HubError;

/// Redirects followed for one file: renamed repositories, then storage.
const MOST_REDIRECTS: usize = 5;
/// Bytes of a response's headers.
const MOST_HEADERS: usize = 64 << 10;
/// What a busy Hub makes us wait at least and at most, and where it does not say how long.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_hours(1), Duration::from_mins(1)];

/// A secret. Its text is in no output.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// Takes the content of a token file.
    ///
    /// # Errors
    /// When it is empty or has characters that no token has.
    pub fn new(text: &str) -> Result<Self, HubError> {
        let text = text.trim();
        let fine = !text.is_empty() && text.len() <= 4096 && text.bytes().all(|byte| byte.is_ascii_graphic());
        let value = fine.then(|| HeaderValue::from_str(&format!("Bearer {text}")).ok()).flatten();
        let mut value =
            value.ok_or_else(|| HubError::Settings("the token file holds no token (one word)".to_owned()))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Asks one endpoint.
#[derive(Debug)]
pub(super) struct Client {
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    endpoint: Uri,
    token: Option<Token>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(endpoint: &str, token: Option<Token>, timeout: Duration) -> Result<Self, HubError> {
        let wrong =
            || HubError::Settings("the Hub's endpoint must be like https://HOST or http://HOST:PORT".to_owned());
        let endpoint: Uri = endpoint.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let named = endpoint.host().is_some_and(|host| !host.is_empty());
        let plain = endpoint.query().is_none() && !endpoint.authority().is_some_and(|it| it.as_str().contains('@'));
        if !matches!(endpoint.scheme_str(), Some("http" | "https")) || !named || !plain {
            return Err(wrong());
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(timeout));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .http1_max_buf_size(MOST_HEADERS)
            .build(connector);
        Ok(Self { http, endpoint, token, timeout })
    }

    pub(super) fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }

    /// The body of a 200 at a path of the endpoint.
    pub(super) async fn get(&self, path: &str, limit: usize) -> Result<Bytes, HubError> {
        match tokio::time::timeout(self.timeout, self.follow(path, limit)).await {
            Ok(result) => result,
            Err(_) => Err(HubError::Slow(self.timeout)),
        }
    }

    async fn follow(&self, path: &str, limit: usize) -> Result<Bytes, HubError> {
        let base = self.endpoint.to_string();
        let mut at: Uri = format!("{}{path}", base.trim_end_matches('/'))
            .parse()
            .map_err(|_| HubError::Settings("the address of the model is not one".to_owned()))?;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(&at).await?;
            let status = response.status();
            match status {
                StatusCode::OK => return body(response, limit).await,
                _ if status.is_redirection() => at = next(&at, response.headers())?,
                StatusCode::NOT_FOUND => return Err(HubError::NotFound),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(HubError::Forbidden(status.as_u16())),
                StatusCode::TOO_MANY_REQUESTS => return Err(HubError::Busy(wait(response.headers()))),
                _ => return Err(HubError::Status(status.as_u16())),
            }
        }
        Err(HubError::Redirect("in circles"))
    }

    async fn send(&self, at: &Uri) -> Result<Response<Incoming>, HubError> {
        let mut request = Request::get(at.clone())
            .header(header::USER_AGENT, concat!("vramguard/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json, */*");
        // Storage behind the Hub signs its addresses: the token is for the Hub alone.
        if let Some(Token(value)) = self.token.as_ref().filter(|_| same_origin(at, &self.endpoint)) {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        let request = request.body(Empty::new()).map_err(|error| HubError::Network(error.to_string()))?;
        self.http.request(request).await.map_err(|error| HubError::Network(chain(&error)))
    }
}

/// Where a redirect leads: never from TLS to plain text.
fn next(from: &Uri, headers: &HeaderMap) -> Result<Uri, HubError> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or(HubError::Redirect("to nowhere"))?;
    let absolute = match location.as_bytes() {
        [b'/', b'/', ..] => format!("{}:{location}", from.scheme_str().unwrap_or("https")),
        [b'/', ..] => {
            let (scheme, authority) = (from.scheme_str().unwrap_or("https"), from.authority());
            format!("{scheme}://{}{location}", authority.map_or("", |authority| authority.as_str()))
        }
        _ => location.to_owned(),
    };
    let next: Uri = absolute.parse().map_err(|_| HubError::Redirect("to what is no address"))?;
    match (from.scheme_str(), next.scheme_str()) {
        (Some("http"), Some("http")) | (_, Some("https")) if next.host().is_some() => Ok(next),
        _ => Err(HubError::Redirect("away from https")),
    }
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().or(if uri.scheme_str() == Some("https") { Some(443) } else { Some(80) });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

async fn body(response: Response<Incoming>, limit: usize) -> Result<Bytes, HubError> {
    let said = response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if said.is_some_and(|said: u64| said > limit as u64) {
        return Err(HubError::TooLarge { limit });
    }
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HubError::TooLarge { limit }),
        Err(error) => Err(HubError::Network(chain(error.as_ref()))),
    }
}

/// `Retry-After` in seconds; a date is as good as nothing.
fn wait(headers: &HeaderMap) -> Duration {
    let [least, most, unsaid] = WAITS;
    let said = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    said.map_or(unsaid, Duration::from_secs).clamp(least, most)
}

/// The system's certificate authorities. Without any, plain endpoints still work, and TLS says what is wrong.
fn tls() -> Result<ClientConfig, HubError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HubError::Settings(format!("TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// An error and its sources in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
