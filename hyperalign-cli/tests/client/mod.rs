//! A running server of this program, and who asks it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server, killed at the end.
pub struct Server {
    pub child: Child,
    pub address: String,
}

impl Server {
    /// Runs `hyperalign COMMAND --port 0 ARGUMENTS` in `folder`, and waits until it listens. A command
    /// may be of several words.
    pub fn start(command: &str, folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hyperalign"))
            .current_dir(folder)
            .args(command.split(' ').chain(["--port", "0"]))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        // What is passed over in weights may be said before.
        let mut before = Vec::new();
        let address = lines.by_ref().find_map(|line| {
            let line = line.expect("text");
            let rest = line.split("http://").nth(1).map(str::to_owned);
            before.push(line);
            Some(rest?.split(';').next()?.to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("no line with the address: {before:?}"));
        // Whoever closes the pipe breaks the server's own messages.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Status, headers in small letters, and body of the answer.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        self.ask_with(method, path, "", body)
    }

    /// The same with more headers, each with its line end.
    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(self.head(method, path, headers, body.len()).as_bytes()).expect("sent");
        // A server that refuses a body by its length does not read it.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {ended:?}"));
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, head, answer[end + 4..].to_vec())
    }

    /// A connection that nothing has been sent over.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(240))).expect("a timeout");
        stream
    }

    /// The head of a request.
    pub fn head(&self, method: &str, path: &str, headers: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\
             \r\n{headers}\r\n",
            self.address
        )
    }

    /// Sends it a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
