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
use crate::{Error, Part, file_sha256, input, registry};

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
    make_folder_of(target)?;
    let real = copy.canonicalize().map_err(Error::io("find", copy))?;
    if std::fs::hard_link(&real, target).is_ok() {
        return Ok(());
    }
    let (mut source, _) = input::open(&real)?;
    collapse_files::replace_with(target, |out| std::io::copy(&mut source, out).map(|_| ()))?;
    Ok(())
}

fn make_folder_of(target: &Path) -> Result<(), Error> {
    match target.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(Error::io("create", folder)),
        None => Ok(()),
    }
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
    const MOST_REQUESTS: usize = 8;
    make_folder_of(target)?;
    let mut transfer = Transfer {
        agent: agent(),
        url,
        at: url.to_string(),
        target,
        partial: partial(target),
        expected: sha256.map(str::to_string),
    };
    for _ in 0..MOST_REQUESTS {
        match transfer.request()? {
            Answer::Moved(address) => transfer.at = address,
            Answer::Complete => return transfer.put_in_place(),
            Answer::TooLong => remove(&transfer.partial)?,
            Answer::Content(content) => {
                transfer.receive(content, &mut progress)?;
                if let Err(error) = check(&transfer.partial, url, transfer.expected.as_deref()) {
                    remove(&transfer.partial)?;
                    return Err(error);
                }
                return transfer.put_in_place();
            }
        }
    }
    Err(transfer.failure("too many redirects"))
}

fn remove(partial: &Path) -> Result<(), Error> {
    std::fs::remove_file(partial).map_err(Error::io("remove", partial))
}

/// A file on its way.
struct Transfer<'a> {
    agent: ureq::Agent,
    /// The address asked for.
    url: &'a str,
    /// Where redirects have led.
    at: String,
    target: &'a Path,
    partial: PathBuf,
    /// SHA-256, once it is known.
    expected: Option<String>,
}

/// What the server says to a request.
enum Answer {
    /// It is elsewhere.
    Moved(String),
    /// What is on disk is all there is and right; only its renaming was interrupted.
    Complete,
    /// What is on disk is longer than the file.
    TooLong,
    Content(Content),
}

struct Content {
    body: ureq::Body,
    /// Bytes that are on disk already.
    from: u64,
    /// Bytes of the whole file, if announced.
    all: Option<u64>,
}

impl Transfer<'_> {
    fn failure(&self, detail: impl ToString) -> Error {
        Error::Fetch {
            url: self.url.to_string(),
            detail: detail.to_string(),
        }
    }

    /// Asks for what is not on disk yet.
    fn request(&mut self) -> Result<Answer, Error> {
        let have = std::fs::metadata(&self.partial).map_or(0, |m| m.len());
        let mut request = self.agent.get(&self.at);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = request.call().map_err(|e| self.failure(e))?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_string)
        };
        if self.expected.is_none() {
            self.expected = header("x-linked-etag")
                .or_else(|| header("etag"))
                .map(|tag| tag.trim_matches('"').to_string())
                .filter(|tag| is_sha256(tag));
        }
        let status = response.status().as_u16();
        let from = match status {
            301 | 302 | 303 | 307 | 308 => {
                let address = header("location").and_then(|to| follow(&self.at, &to));
                return address.map(Answer::Moved).ok_or_else(|| {
                    self.failure(format!("status {status} without a usable address"))
                });
            }
            416 => {
                let expected = self.expected.as_deref();
                let complete =
                    expected.is_some() && check(&self.partial, self.url, expected).is_ok();
                return Ok(if complete {
                    Answer::Complete
                } else {
                    Answer::TooLong
                });
            }
            200 => 0,
            206 => {
                let asked = format!("bytes {have}-");
                if !header("content-range").is_some_and(|range| range.starts_with(&asked)) {
                    return Err(self.failure("the server resumed at another place than asked"));
                }
                have
            }
            404 => {
                return Err(
                    self.failure("status 404: the file is not there (renamed at its source?)")
                );
            }
            other => return Err(self.failure(format!("status {other}"))),
        };
        let length = header("content-length").and_then(|length| length.parse::<u64>().ok());
        Ok(Answer::Content(Content {
            all: length.and_then(|length| length.checked_add(from)),
            from,
            body: response.into_body(),
        }))
    }

    /// Writes what arrives after what is there.
    fn receive(
        &self,
        content: Content,
        progress: &mut impl FnMut(u64, Option<u64>),
    ) -> Result<(), Error> {
        let Content {
            mut body,
            from,
            all,
        } = content;
        let write_failed = || Error::io("write", &self.partial);
        let mut file = if from > 0 {
            OpenOptions::new().append(true).open(&self.partial)
        } else {
            File::create(&self.partial)
        }
        .map_err(write_failed())?;
        let mut done = from;
        let mut buffer = vec![0u8; 1 << 16];
        let mut reader = body.as_reader();
        loop {
            let n = reader
                .read(&mut buffer)
                .map_err(|e| self.failure(format!("after {done} bytes: {e}")))?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(write_failed())?;
            done += n as u64;
            progress(done, all);
        }
        if let Some(all) = all.filter(|&all| all != done) {
            return Err(self.failure(format!("{done} of {all} bytes arrived")));
        }
        file.sync_all().map_err(write_failed())
    }

    fn put_in_place(&self) -> Result<(), Error> {
        std::fs::rename(&self.partial, self.target).map_err(Error::io("rename", &self.partial))
    }
}
