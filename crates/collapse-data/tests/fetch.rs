//! Downloads against a server of the test's own.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use collapse_data::fetch::{FetchOptions, download, fetch};
use collapse_data::registry::{self, Source};
use collapse_data::{Error, Part, sha256};

fn content() -> Vec<u8> {
    (0..200_000u64).map(|i| ((i * i) >> 3) as u8).collect()
}

/// Serves until the test ends; returns its address and the requests' ranges.
fn serve() -> (String, Arc<Mutex<Vec<Option<usize>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ranges);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines
                .next()
                .unwrap()
                .unwrap()
                .split(' ')
                .nth(1)
                .unwrap()
                .to_string();
            let mut range = None;
            for line in lines.map(|l| l.unwrap()).take_while(|l| !l.is_empty()) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    range = value.trim_end_matches('-').parse::<usize>().ok();
                }
            }
            seen.lock().unwrap().push(range);
            let body = content();
            let good = sha256(&body).to_hex();
            let from = range.unwrap_or(0);
            if from >= body.len() {
                let answer = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes());
                continue;
            }
            let status = if range.is_some() {
                format!(
                    "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                    body.len() - 1,
                    body.len()
                )
            } else {
                "200 OK".to_string()
            };
            let sent = &body[from..];
            let head = |etag: &str| {
                format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{etag}\"\r\nConnection: close\r\n\r\n",
                    sent.len()
                )
            };
            let answer = match path.as_str() {
                p if p.ends_with("moved") || p.starts_with("/datasets/") => {
                    format!("HTTP/1.1 302 Found\r\nLocation: /good\r\nX-Linked-Etag: \"{good}\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
                }
                "/good" => [head("short").as_bytes(), sent].concat(),
                "/truncated" if range.is_none() => [head(&good).as_bytes(), &sent[..70_000]].concat(),
                "/truncated" => [head(&good).as_bytes(), sent].concat(),
                "/wrong" => [head(&"0".repeat(64)).as_bytes(), sent].concat(),
                "/loop" => b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
                _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            };
            let _ = stream.write_all(&answer);
        }
    });
    (address, ranges)
}

#[test]
fn a_truncated_download_is_resumed_where_it_stopped() {
    let (address, ranges) = serve();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let error = download(&format!("{address}/truncated"), &target, None, |_, _| {}).unwrap_err();
    assert!(matches!(error, Error::Fetch { .. }), "{error}");
    assert!(!target.exists());
    download(&format!("{address}/truncated"), &target, None, |_, _| {}).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content());
    assert_eq!(*ranges.lock().unwrap(), [None, Some(70_000)]);
}

#[test]
fn wrong_hash_missing_file_and_endless_redirects_are_named() {
    let (address, _) = serve();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let attempt =
        |path: &str| download(&format!("{address}{path}"), &target, None, |_, _| {}).unwrap_err();
    assert!(matches!(attempt("/wrong"), Error::Checksum { .. }));
    assert!(attempt("/nothing").to_string().contains("404"));
    assert!(attempt("/loop").to_string().contains("redirects"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_set_is_fetched_through_a_redirect_and_only_once() {
    let (address, ranges) = serve();
    let folder = tempfile::tempdir().unwrap();
    let options = hub_at(address);
    let mut last = (0, None);
    let files = fetch(
        "textures", // no pinned hash: the one that the server announces is checked
        Part::Test,
        folder.path(),
        &options,
        |_, done, all| last = (done, all),
    )
    .unwrap();
    assert_eq!(std::fs::read(&files[0]).unwrap(), content());
    assert_eq!(last, (200_000, Some(200_000)));
    let requests = ranges.lock().unwrap().len();
    fetch(
        "textures",
        Part::Test,
        folder.path(),
        &options,
        |_, _, _| {},
    )
    .unwrap();
    assert_eq!(ranges.lock().unwrap().len(), requests);
}

/// A hub at `address`, and no cache.
fn hub_at(address: String) -> FetchOptions {
    FetchOptions {
        endpoint: address,
        hub_cache: None,
        ..FetchOptions::default()
    }
}

#[test]
fn a_pinned_hash_is_believed_before_the_server() {
    let (address, _) = serve();
    let folder = tempfile::tempdir().unwrap();
    let mut options = hub_at(address);
    let attempt =
        |options: &FetchOptions| fetch("mnist", Part::Test, folder.path(), options, |_, _, _| {});
    // The server announces its own content's hash, which is not MNIST's.
    assert!(matches!(
        attempt(&options).unwrap_err(),
        Error::Checksum { .. }
    ));
    options.revision = Some("another".into());
    let files = attempt(&options).unwrap();
    // The same file is refused where the registry's revision is meant.
    options.revision = None;
    assert!(matches!(
        attempt(&options).unwrap_err(),
        Error::Checksum { .. }
    ));
    options.sha256 = Some(sha256(&content()).to_hex());
    assert_eq!(attempt(&options).unwrap(), files);
}

#[test]
fn a_complete_part_file_is_only_renamed() {
    let (address, _) = serve();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    std::fs::write(folder.path().join("file.part"), content()).unwrap();
    download(
        &format!("{address}/good"),
        &target,
        Some(&sha256(&content()).to_hex()),
        |_, _| panic!("nothing is left to transfer"),
    )
    .unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content());

    // A part that is longer than the file is begun anew.
    let target = folder.path().join("other");
    std::fs::write(folder.path().join("other.part"), vec![0; 300_000]).unwrap();
    download(&format!("{address}/good"), &target, None, |_, _| {}).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content());
}

#[test]
fn the_cache_of_the_hubs_libraries_is_reused() {
    let info = registry::find("mnist").unwrap();
    let file = info.files_of(Part::Test, Source::Hub).next().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("datasets--ylecun--mnist");
    let cached = repository
        .join("snapshots")
        .join(info.revision)
        .join(file.path);
    std::fs::create_dir_all(cached.parent().unwrap()).unwrap();
    std::fs::write(&cached, content()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (address, ranges) = serve();
    let mut options = FetchOptions {
        hub_cache: Some(cache.path().to_path_buf()),
        sha256: Some(sha256(&content()).to_hex()),
        ..hub_at(address)
    };
    let mut heard = 0;
    let files = fetch(
        "mnist",
        Part::Test,
        folder.path(),
        &options,
        |_, done, _| {
            heard = done;
        },
    )
    .unwrap();
    assert_eq!(std::fs::read(&files[0]).unwrap(), content());
    assert_eq!((heard, ranges.lock().unwrap().len()), (200_000, 0));

    // A damaged copy there is passed over.
    std::fs::write(&cached, b"damaged").unwrap();
    std::fs::remove_file(&files[0]).unwrap();
    options.hub_cache = Some(cache.path().to_path_buf());
    fetch("mnist", Part::Test, folder.path(), &options, |_, _, _| {}).unwrap();
    assert_eq!(std::fs::read(&files[0]).unwrap(), content());
    assert!(!ranges.lock().unwrap().is_empty());
}
