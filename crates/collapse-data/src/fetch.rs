//! Downloads from the Hugging Face hub: resumable, checked by SHA-256, with progress (feature `hub`).
//!
//! The hub names the SHA-256 of each large file in its answer; what arrives must have it. A caller who
//! knows the hash passes it and need not trust the server. An unfinished download stays beside its target as `*.part`
//! and is resumed; the target appears only when it is complete and right.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Part, file_sha256, registry};

/// How to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Address of the hub.
    pub endpoint: String,
    /// Branch or commit of the repository.
    pub revision: String,
    /// Expected SHA-256 (64 lower-case hex digits) instead of the one the server names.
    pub sha256: Option<String>,
}

impl Default for FetchOptions {
    /// `$HF_ENDPOINT` or <https://huggingface.co>, branch `main`.
    fn default() -> Self {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|e| !e.is_empty());
        Self {
            endpoint: endpoint.unwrap_or_else(|| "https://huggingface.co".to_string()),
            revision: "main".to_string(),
            sha256: None,
        }
    }
}

/// Fetches a part of a set of the registry into `dir`/name; files that are there already are kept.
///
/// `progress` hears (file, bytes so far, bytes in all if known).
///
/// # Errors
/// [`Error::UnknownSet`], [`Error::Fetch`], [`Error::Checksum`], [`Error::Io`].
pub fn fetch(
    name: &str,
    part: Part,
    dir: &Path,
    options: &FetchOptions,
    mut progress: impl FnMut(&str, u64, Option<u64>),
) -> Result<Vec<PathBuf>, Error> {
    let info = registry::find(name)?;
    let mut fetched = Vec::new();
    for file in info.files.iter().filter(|f| f.part == part) {
        let url = format!(
            "{}/datasets/{}/resolve/{}/{}",
            options.endpoint, info.repository, options.revision, file.path
        );
        let target = dir
            .join(name)
            .join(file.path.rsplit('/').next().unwrap_or(file.path));
        if !target.is_file() {
            download(&url, &target, options.sha256.as_deref(), |done, all| {
                progress(file.path, done, all)
            })?;
        }
        fetched.push(target);
    }
    if fetched.is_empty() {
        return Err(Error::NotFound {
            name: name.to_string(),
            part: part.name(),
            path: dir.to_path_buf(),
            remedy: "the registry has no file for this part; the benchmark does not use it"
                .to_string(),
        });
    }
    Ok(fetched)
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_connect(Some(std::time::Duration::from_secs(20)))
        .timeout_recv_response(Some(std::time::Duration::from_secs(60)))
        .build()
        .new_agent()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Where a redirect leads: absolute, or a path on the same host.
fn follow(url: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_string());
    }
    let host_end = url.find("://")? + 3;
    let host_end = url[host_end..]
        .find('/')
        .map_or(url.len(), |i| host_end + i);
    location
        .starts_with('/')
        .then(|| format!("{}{location}", &url[..host_end]))
}

/// Downloads one file; see the module's text for resuming and checking.
///
/// # Errors
/// [`Error::Fetch`], [`Error::Checksum`] (the file is then removed), [`Error::Io`].
pub fn download(
    url: &str,
    target: &Path,
    sha256: Option<&str>,
    mut progress: impl FnMut(u64, Option<u64>),
) -> Result<(), Error> {
    let fail = |detail: String| Error::Fetch {
        url: url.to_string(),
        detail,
    };
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut partial = target.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let agent = agent();
    let mut expected = sha256.map(str::to_string);
    let mut at = url.to_string();
    for _ in 0..8 {
        let have = std::fs::metadata(&partial).map_or(0, |m| m.len());
        let mut request = agent.get(&at);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|e| fail(e.to_string()))?;
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_string)
        };
        if expected.is_none() {
            let named = header("x-linked-etag").or_else(|| header("etag"));
            expected = named
                .map(|e| e.trim_matches('"').to_string())
                .filter(|e| is_sha256(e));
        }
        let status = response.status().as_u16();
        match status {
            301 | 302 | 303 | 307 | 308 => {
                let location = header("location").and_then(|l| follow(&at, &l));
                at = location
                    .ok_or_else(|| fail(format!("status {status} without a usable address")))?;
                continue;
            }
            // The part on disk is longer than the file, or complete: start over.
            416 => {
                std::fs::remove_file(&partial).map_err(Error::io("remove", &partial))?;
                continue;
            }
            200 | 206 => {}
            404 => {
                return Err(fail(
                    "status 404: the file is not there (renamed at its source?)".to_string(),
                ));
            }
            other => return Err(fail(format!("status {other}"))),
        }
        let resumed = status == 206;
        if resumed
            && !header("content-range").is_some_and(|r| r.starts_with(&format!("bytes {have}-")))
        {
            return Err(fail(
                "the server resumed at another place than asked".to_string(),
            ));
        }
        let length = header("content-length").and_then(|l| l.parse::<u64>().ok());
        let start = if resumed { have } else { 0 };
        let all = length.map(|l| l + start);
        let mut file = if resumed {
            OpenOptions::new().append(true).open(&partial)
        } else {
            File::create(&partial)
        }
        .map_err(Error::io("write", &partial))?;
        let mut done = start;
        let mut buffer = vec![0u8; 1 << 16];
        let mut body = response.body_mut().as_reader();
        loop {
            let n = body
                .read(&mut buffer)
                .map_err(|e| fail(format!("after {done} bytes: {e}")))?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n])
                .map_err(Error::io("write", &partial))?;
            done += n as u64;
            progress(done, all);
        }
        if let Some(all) = all.filter(|&all| all != done) {
            return Err(fail(format!("{done} of {all} bytes arrived")));
        }
        file.sync_all().map_err(Error::io("write", &partial))?;
        drop(file);
        if let Some(expected) = &expected {
            let found = file_sha256(&partial)?;
            if found != *expected {
                std::fs::remove_file(&partial).map_err(Error::io("remove", &partial))?;
                return Err(Error::Checksum {
                    origin: url.to_string(),
                    found,
                    expected: expected.clone(),
                });
            }
        }
        return std::fs::rename(&partial, target).map_err(Error::io("rename", &partial));
    }
    Err(fail("too many redirects".to_string()))
}
