//! Downloads from the Hugging Face hub or from a set's authors: resumable, checked by SHA-256, with progress
//! (feature `hub`).
//!
//! What the hub's own libraries have fetched already is taken from their cache, which hf-hub finds. The transfer
//! itself is this module's: hf-hub 1.0.0 begins an interrupted file anew and checks neither its length nor its
//! hash. Here an unfinished download stays beside its target as `*.part` and is resumed; the target appears only
//! when it is complete and right. The registry pins the hashes; where it has none, the hub's own announcement is
//! checked.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::registry::{RemoteFile, SetInfo, Source};
use crate::{Error, Part, file_sha256, registry};

/// How to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Who serves the files.
    pub source: Source,
    /// Address of the hub.
    pub endpoint: String,
    /// Branch or commit of the hub's repository instead of the registry's; the registry's hashes do not hold then.
    pub revision: Option<String>,
    /// Cache of the hub's own libraries, searched before anything is downloaded.
    pub hub_cache: Option<PathBuf>,
    /// Expected SHA-256 (64 lower-case hex digits) instead of the registry's.
    pub sha256: Option<String>,
}

impl Default for FetchOptions {
    /// From the hub at `$HF_ENDPOINT` or <https://huggingface.co>, with [`crate::hub_cache`].
    fn default() -> Self {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|e| !e.is_empty());
        Self {
            source: Source::Hub,
            endpoint: endpoint.unwrap_or_else(|| "https://huggingface.co".to_string()),
            revision: None,
            hub_cache: crate::hub_cache(),
            sha256: None,
        }
    }
}

/// Fetches a part of a set of the registry into `dir`/name. Files that are there already are kept, and checked
/// where their hash is known.
///
/// `progress` hears (file, bytes so far, bytes in all if known).
///
/// # Errors
/// [`Error::UnknownSet`], [`Error::Fetch`], [`Error::Checksum`], [`Error::Io`]; [`Error::NotFound`] when the
/// registry has no file for the part.
pub fn fetch(
    name: &str,
    part: Part,
    dir: &Path,
    options: &FetchOptions,
    mut progress: impl FnMut(&str, u64, Option<u64>),
) -> Result<Vec<PathBuf>, Error> {
    let info = registry::find(name)?;
    let mut fetched = Vec::new();
    for file in info.files_of(part, options.source) {
        let target = dir.join(name).join(file.file_name());
        let pinned = (options.source == Source::Authors || options.revision.is_none())
            .then_some(file.sha256)
            .flatten();
        let expected = options.sha256.as_deref().or(pinned);
        if target.is_file() {
            check(&target, &target.display().to_string(), expected)?;
        } else if let Some(copy) = cached(info, file, options)
            && check(&copy, "", expected).is_ok()
        {
            adopt(&copy, &target)?;
            let length = std::fs::metadata(&target).map_or(0, |m| m.len());
            progress(file.path, length, Some(length));
        } else {
            download(
                &address(info, file, options),
                &target,
                expected,
                |done, all| progress(file.path, done, all.or(file.bytes)),
            )?;
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

fn address(info: &SetInfo, file: &RemoteFile, options: &FetchOptions) -> String {
    match options.source {
        Source::Authors => file.path.to_string(),
        Source::Hub => format!(
            "{}/datasets/{}/resolve/{}/{}",
            options.endpoint,
            info.repository,
            options.revision.as_deref().unwrap_or(info.revision),
            file.path
        ),
    }
}

/// A file that the hub's own libraries have fetched already.
fn cached(info: &SetInfo, file: &RemoteFile, options: &FetchOptions) -> Option<PathBuf> {
    let cache = options.hub_cache.as_ref().filter(|c| c.is_dir())?;
    if options.source == Source::Authors {
        return None;
    }
    let client = hf_hub::HFClient::builder()
        .cache_dir(cache)
        .build_sync()
        .ok()?;
    let (owner, name) = hf_hub::split_id(info.repository);
    client
        .dataset(owner, name)
        .download_file()
        .filename(file.path)
        .revision(options.revision.as_deref().unwrap_or(info.revision))
        .local_files_only(true)
        .send()
        .ok()
}

/// Links a cached file to its place, or copies it where links do not reach.
fn adopt(copy: &Path, target: &Path) -> Result<(), Error> {
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let real = copy.canonicalize().map_err(Error::io("find", copy))?;
    if std::fs::hard_link(&real, target).is_ok() {
        return Ok(());
    }
    let partial = partial(target);
    std::fs::copy(&real, &partial).map_err(Error::io("write", &partial))?;
    std::fs::rename(&partial, target).map_err(Error::io("rename", &partial))
}

/// Fails unless the file has the hash, if one is expected.
fn check(file: &Path, origin: &str, expected: Option<&str>) -> Result<(), Error> {
    let Some(expected) = expected else {
        return Ok(());
    };
    let found = file_sha256(file)?;
    if found == expected {
        return Ok(());
    }
    Err(Error::Checksum {
        origin: origin.to_string(),
        found,
        expected: expected.to_string(),
    })
}

/// Where an unfinished download waits.
fn partial(target: &Path) -> PathBuf {
    let mut partial = target.as_os_str().to_owned();
    partial.push(".part");
    partial.into()
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
    let partial = partial(target);
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
            // The part on disk is complete, and only its renaming was interrupted; or it is too long: start over.
            416 if expected.is_some() && check(&partial, url, expected.as_deref()).is_ok() => {
                return std::fs::rename(&partial, target).map_err(Error::io("rename", &partial));
            }
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
        if let Err(error) = check(&partial, url, expected.as_deref()) {
            std::fs::remove_file(&partial).map_err(Error::io("remove", &partial))?;
            return Err(error);
        }
        return std::fs::rename(&partial, target).map_err(Error::io("rename", &partial));
    }
    Err(fail("too many redirects".to_string()))
}
