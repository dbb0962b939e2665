//! What is kept, what makes room, and whom a fetcher believes.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};
use ureq::tls::{Certificate, RootCerts};

use super::*;

fn settings(dir: &Path, bytes_max: u64) -> ArtifactSettings {
    ArtifactSettings { offered: vec![dir.to_owned()], bytes_max }
}

fn artifact(source: &Path, content: &[u8]) -> Artifact {
    Artifact {
        source: source.display().to_string(),
        sha256: Some(Sha256::digest(content).into()),
        destination: "got".into(),
        mode: 0o640,
        unpack: Unpack::No,
    }
}

#[tokio::test]
async fn the_longest_unused_make_room_and_are_fetched_again() {
    let root = tempfile::tempdir().unwrap();
    let offered = root.path().join("offered");
    fs::create_dir(&offered).unwrap();
    let all: Vec<Artifact> = (0..3u8)
        .map(|n| {
            let content = [n; 400];
            fs::write(offered.join(n.to_string()), content).unwrap();
            artifact(&offered.join(n.to_string()), &content)
        })
        .collect();
    let kept = root.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("cut.part"), "half").unwrap();
    let artifacts = Arc::new(Artifacts::open(kept.clone(), settings(&offered, 1_000)).unwrap());
    for (n, one) in (1..).zip(&all) {
        artifacts.prepare(std::slice::from_ref(one)).await.unwrap();
        let kept = File::options().write(true).open(artifacts.path(&one.sha256.unwrap())).unwrap();
        kept.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(n)).unwrap();
    }
    let there = |artifact: &Artifact| artifacts.path(&artifact.sha256.unwrap()).exists();
    assert_eq!(all.iter().map(there).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 2, "what an earlier agent began is gone");
    let work = root.path().join("work");
    fs::create_dir(&work).unwrap();
    artifacts.supply(&all[..1], &work, None).unwrap();
    assert_eq!(fs::read(work.join("got")).unwrap(), [0; 400]);
    assert_eq!(fs::metadata(work.join("got")).unwrap().mode() & 0o777, 0o640);
}

/// A host with a certificate of its own, which answers every request with `content`.
fn secure_host(content: &'static [u8]) -> (SocketAddr, Vec<u8>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = own.cert.der().to_vec();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut secure = StreamOwned::new(session, stream);
            let mut lines = BufReader::new(&mut secure).lines();
            while matches!(lines.next(), Some(Ok(line)) if !line.is_empty()) {}
            drop(lines);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            // Who doesn't trust the certificate has hung up.
            let _ = secure.write_all(head.as_bytes()).and_then(|()| secure.write_all(content));
            secure.conn.send_close_notify();
            let _ = secure.flush();
        }
    });
    (address, certificate)
}

#[test]
fn a_secure_host_is_believed_only_with_a_certificate_that_is_trusted() {
    let (address, certificate) = secure_host(b"content");
    let root = tempfile::tempdir().unwrap();
    let digest: Digest = Sha256::digest(b"content").into();
    let source = format!("https://localhost:{}/file", address.port());
    let fetch =
        |roots: RootCerts| Fetcher::trusting(roots, 100).remote(&source, &digest, &root.path().join("kept"));
    assert_eq!(fetch(RootCerts::WebPki), Err(ArtifactProblem::Unreachable));
    let trusted = Certificate::from_der(&certificate).to_owned();
    assert_eq!(fetch(RootCerts::Specific(Arc::new(vec![trusted]))), Ok(()));
    assert_eq!(fs::read(root.path().join("kept")).unwrap(), b"content");
}
