//! A host of files over plain HTTP, for what tasks fetch: it counts who asks, and holds answers back when told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
struct Files {
    contents: BTreeMap<String, Vec<u8>>,
    /// Paths that are answered later.
    held: Vec<String>,
    asked: BTreeMap<String, u32>,
}

/// The host. It goes on until the test's process ends.
pub struct FileHost {
    address: SocketAddr,
    files: Arc<(Mutex<Files>, Condvar)>,
}

impl FileHost {
    /// A host on a free port of this machine.
    pub fn start() -> FileHost {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let files = Arc::new((Mutex::new(Files::default()), Condvar::new()));
        let shared = Arc::clone(&files);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        FileHost { address, files }
    }

    /// Offers a file, and returns its address.
    pub fn offer(&self, path: &str, content: &[u8]) -> String {
        self.with(|files| drop(files.contents.insert(path.to_owned(), content.to_vec())));
        self.url(path)
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Holds back answers about a path.
    pub fn hold(&self, path: &str) {
        self.with(|files| files.held.push(path.to_owned()));
    }

    /// Lets all answers go.
    pub fn release(&self) {
        self.with(|files| files.held.clear());
        self.files.1.notify_all();
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> u32 {
        self.with(|files| files.asked.get(path).copied().unwrap_or(0))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Files) -> T) -> T {
        act(&mut self.files.0.lock().expect("nothing panics while it holds this lock"))
    }
}

fn answer(mut stream: TcpStream, shared: &(Mutex<Files>, Condvar)) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(path) = lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())) else { return };
    // The rest of the request says nothing of interest.
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    drop(lines);
    let (files, changed) = shared;
    let mut files = files.lock().expect("nothing panics while it holds this lock");
    *files.asked.entry(path.clone()).or_default() += 1;
    while files.held.contains(&path) {
        files = changed.wait(files).expect("nothing panics while it holds this lock");
    }
    let (status, content) = match files.contents.get(&path) {
        Some(content) => ("200 OK", content.clone()),
        None => ("404 Not Found", Vec::new()),
    };
    drop(files);
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
    // Who asked may be gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
}

/// The sha256 of bytes as the machine's own tool says it.
pub fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("coreutils are there");
    let line = String::from_utf8(output.stdout).expect("it prints text");
    line.split(' ').next().expect("the hash comes first").to_owned()
}
