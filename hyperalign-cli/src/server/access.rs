//! Who may ask.
//!
//! Whoever has the key, where there is one. Without a key the server is for its own machine, and a
//! web page that happens to be open there is not: browsers say which page asks (`Origin`) and which
//! name it used (`Host`).

use axum::http::{HeaderMap, StatusCode, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;

use super::Refusal;

/// Paths that need no key: the page, which asks for it, and whether the server is there.
const OPEN: [&str; 4] = ["/", "/page.css", "/page.js", "/health"];

/// Who may ask.
#[derive(Debug)]
pub struct Access {
    key: Option<String>,
    /// Whether only this machine can reach the server.
    is_local: bool,
    /// Other names of the server.
    names: Vec<String>,
}

impl Access {
    /// Lets in who has the key; where there is none, whoever reaches the server, which `is_local`
    /// says who that is.
    pub fn new(key: Option<String>, is_local: bool) -> Self {
        Self { key, is_local, names: Vec::new() }
    }

    /// Also lets in who asks for the server by one of `names`, as behind a proxy.
    pub fn known_as(self, names: Vec<String>) -> Self {
        Self { names, ..self }
    }

    /// Whether a key is needed.
    pub fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// Checks a request for `path`.
    ///
    /// # Errors
    ///
    /// Refuses it without the key, and from a page of another site.
    pub fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let forbidden = |reason: &str| Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if let Some(origin) = text(header::ORIGIN) {
            let site = origin.split_once("://").map_or(origin, |(_, site)| site);
            if !site.eq_ignore_ascii_case(host) {
                return forbidden(
                    "a page of another site has asked; this server answers its own page, and \
                     programs",
                );
            }
        }
        let Some(key) = &self.key else {
            // Another name may be one that a page of elsewhere has been given to come in by.
            if self.is_local && !is_of_this_machine(host) && !self.is_known(host) {
                return forbidden(
                    "the server was asked by a name that is not of this machine; ask by its \
                     address, or see `--help` for how it lets others in",
                );
            }
            return Ok(());
        };
        let given = text(header::AUTHORIZATION).and_then(key_of);
        let is_right =
            given.as_ref().is_some_and(|given| given.as_bytes().ct_eq(key.as_bytes()).into());
        if is_right || OPEN.contains(&path) {
            return Ok(());
        }
        let what = if given.is_some() { "the key is another one" } else { "there is no key" };
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            format!(
                "{what}; send the header `Authorization: Bearer KEY` with the server's --api-key"
            ),
        ))
    }

    fn is_known(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(name_of(host)))
    }
}

/// A `Host` without its port.
fn name_of(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// The key in a header: alone, or as the password of a user of any name.
fn key_of(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let decoded = BASE64_STANDARD.decode(rest.trim()).ok()?;
            let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
            Some(password.to_owned())
        }
        _ => None,
    }
}

/// Whether a `Host` is an address, or the name of the machine itself.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn check(access: &Access, path: &str, headers: &[(HeaderName, &str)]) -> u16 {
        let pairs = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let checked = access.check(path, &pairs.collect());
        checked.map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn who_has_the_key_comes_in() {
        let access = Access::new(Some("secret".to_owned()), true);
        let path = "/v1/images/generations";
        // user:secret
        for (value, status) in [
            ("Bearer secret", 200),
            ("bearer  secret ", 200),
            ("Basic dXNlcjpzZWNyZXQ=", 200),
            ("Bearer secre", 401),
            ("Bearer secrets", 401),
            ("Bearer ", 401),
            ("Basic dXNlcjo=", 401),
            ("Basic ?", 401),
            ("secret", 401),
        ] {
            let headers = [(header::AUTHORIZATION, value), (header::HOST, "example.org")];
            assert_eq!(check(&access, path, &headers), status, "{value}");
        }
        for (path, status) in [("/", 200), ("/health", 200), ("/metrics", 401), ("/nothing", 401)] {
            assert_eq!(check(&access, path, &[]), status, "{path}");
        }
    }

    #[test]
    fn pages_of_elsewhere_do_not() {
        let local = Access::new(None, true);
        let host = |name| (header::HOST, name);
        for (name, status) in [
            ("localhost:7860", 200),
            ("127.0.0.1:7860", 200),
            ("[::1]:7860", 200),
            ("[evil]:1", 403),
            ("evil.example:7860", 403),
            ("", 403),
        ] {
            assert_eq!(check(&local, "/", &[host(name)]), status, "{name}");
        }
        let known = Access::new(None, true).known_as(vec!["study.example".to_owned()]);
        for (name, status) in
            [("study.example", 200), ("Study.Example:443", 200), ("a.study.example", 403)]
        {
            assert_eq!(check(&known, "/", &[host(name)]), status, "{name}");
        }
        let open = Access::new(None, false);
        assert_eq!(check(&open, "/", &[host("pictures.example")]), 200);
        for (origin, status) in
            [("http://127.0.0.1:7860", 200), ("https://evil.example", 403), ("null", 403)]
        {
            let headers = [host("127.0.0.1:7860"), (header::ORIGIN, origin)];
            assert_eq!(check(&local, "/v1/models", &headers), status, "{origin}");
        }
    }
}
