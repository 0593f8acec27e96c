//! What several tests of the program need.
#![allow(dead_code)] // each test program compiles all of it and uses a part

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The program with nothing on standard input; the user's own caches are out of bounds for tests.
pub fn collapse() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collapse"));
    let nowhere = std::env::temp_dir().join("collapse-tests-without-cache");
    command
        .stdin(Stdio::null())
        .env("HF_HUB_CACHE", nowhere.join("hub"))
        .env("COLLAPSE_CACHE", nowhere.join("decoded"));
    command
}

/// Waits until a file is there.
pub fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "{} does not appear",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
