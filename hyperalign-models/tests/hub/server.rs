//! The smallest hub that answers: one repository, on loopback, which is a model and a data set.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

/// The commit that its branch `main` is at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What it has and how it behaves.
#[derive(Debug, Clone, Default)]
pub struct Shop {
    /// Files by their path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What a request must bring along, if access is restricted.
    pub token: Option<String>,
    /// The status of an answer to others.
    pub refusal: u16,
    /// The file whose first download breaks off in the middle.
    pub breaks: Option<String>,
    /// The file whose bytes are not what its fingerprint says.
    pub spoils: Option<String>,
    /// Whether it ignores what part of a file is asked for.
    pub whole_only: bool,
}

/// A request: the path, and the first byte that is asked for.
pub type Request = (String, Option<usize>);

/// A running hub. It ends with the test's process.
pub struct Server {
    pub endpoint: String,
    shop: Arc<Mutex<Shop>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(shop: Shop) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (shop, seen) = (Arc::new(Mutex::new(shop)), Arc::new(Mutex::new(Vec::new())));
        let (of_thread, log) = (shop.clone(), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shop, log) = (of_thread.clone(), log.clone());
                std::thread::spawn(move || answer(stream, &shop, &log));
            }
        });
        Self { endpoint, shop, seen }
    }

    /// Changes how it behaves.
    pub fn change(&self, change: impl FnOnce(&mut Shop)) {
        change(&mut self.shop.lock().expect("no answer panicked"));
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.seen.lock().expect("no answer panicked"))
    }
}

/// Answers the requests of one connection, each with the end of the connection.
fn answer(mut stream: TcpStream, shop: &Mutex<Shop>, log: &Mutex<Vec<Request>>) {
    let mut path = String::new();
    let (mut from, mut token, mut single) = (None, None, false);
    let reader = BufReader::new(stream.try_clone().expect("a second handle"));
    for line in reader.lines() {
        let Ok(line) = line else { return };
        if line.is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some(range) = lower.strip_prefix("range: bytes=") {
            from = range.split('-').next().and_then(|first| first.parse().ok());
        } else if lower.starts_with("authorization: bearer ") {
            token = line.rsplit(' ').next().map(str::to_owned);
        }
        // `metadata` of hf-hub asks for a single byte.
        if lower == "range: bytes=0-0" {
            (from, single) = (None, true);
        }
    }
    let mut shop = shop.lock().expect("no answer panicked");
    let bytes = respond(&mut shop, &path, from, single, token.as_deref());
    log.lock().expect("no answer panicked").push((path, from));
    // A client that has gone away is not our concern.
    let _ = stream.write_all(&bytes);
}

fn respond(
    shop: &mut Shop,
    path: &str,
    from: Option<usize>,
    single: bool,
    token: Option<&str>,
) -> Vec<u8> {
    let status = |code: u16| {
        format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    if shop.token.is_some() && shop.token.as_deref() != token {
        return status(shop.refusal);
    }
    let listed = ["/api/models/we/tiny/revision/", "/api/datasets/we/tiny/revision/"];
    if listed.iter().any(|start| path.starts_with(start)) {
        let entry = |(name, content): (&String, &Vec<u8>)| match path.ends_with("?blobs=true") {
            true => serde_json::json!({"rfilename": name, "size": content.len()}),
            false => serde_json::json!({"rfilename": name}),
        };
        let names: Vec<_> = shop.files.iter().map(entry).collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": names}).to_string();
        return format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
    }
    let path = path.strip_prefix("/datasets").unwrap_or(path);
    let name = path.strip_prefix("/we/tiny/resolve/").and_then(|rest| rest.split_once('/'));
    let Some((name, content)) =
        name.and_then(|(_, name)| Some((name, shop.files.get(name)?.clone())))
    else {
        return status(404);
    };
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let size = content.len();
    let mut content = content;
    if shop.spoils.as_deref() == Some(name) {
        content[size / 2] ^= 1;
    }
    let start = if shop.whole_only && !single { 0 } else { from.unwrap_or(0) };
    if start >= size {
        return status(416);
    }
    let end = if single { 1 } else { size };
    let body = &content[start..end];
    let mut response = format!(
        "HTTP/1.1 206 Partial\r\nETag: \"{hash}\"\r\nX-Repo-Commit: {COMMIT}\r\n\
         Content-Range: bytes {start}-{}/{size}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        end - 1,
        body.len()
    )
    .into_bytes();
    let cut = !single && shop.breaks.as_deref() == Some(name);
    if cut {
        shop.breaks = None;
    }
    response.extend(if cut { &body[..body.len() / 2] } else { body });
    response
}
