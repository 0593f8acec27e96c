//! A Slurm array, one task a run, with a report job after it.
//!
//! A task whose time runs out is warned by a signal, writes a checkpoint and queues itself again, so that a run may
//! take many times the limit of a job. Submitting again leaves finished runs and those in the queue alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use collapse_results::quoted;
use serde::{Deserialize, Serialize};

use super::{Launch, Task};
use crate::error::Error;

/// Seconds before its limit at which a job is warned: a step of the largest network and its checkpoint.
const WARNED_BEFORE: u64 = 120;
const SUBMISSION: &str = "submission.json";

/// What was submitted: the content of `submission.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Number of the array.
    pub array: String,
    /// Number of the job that draws the report.
    pub report: String,
    /// The tasks by their index in the array.
    pub tasks: Vec<Task>,
}

/// The scripts of a submission, in a folder of its own.
#[derive(Clone, Debug)]
pub struct Scripts {
    folder: PathBuf,
    tasks: Vec<Task>,
}

/// Writes the scripts that [`Scripts::submit`] gives to Slurm.
///
/// # Errors
/// [`Error::Unwritable`] and [`Error::File`] when they cannot be written.
pub fn write(launch: &Launch) -> Result<Scripts, Error> {
    let folder = new_folder(&launch.folder)?;
    let mut list = String::new();
    for task in &launch.tasks {
        // Groups are plain words; the path is the rest of the line.
        let _ = writeln!(
            list,
            "{} {} {}",
            task.group,
            task.seed,
            task.folder.display()
        );
    }
    for (name, text) in [
        ("tasks", list),
        ("array.sh", array_script(launch, &folder)),
        ("report.sh", report_script(launch, &folder)),
    ] {
        collapse_files::replace(&folder.join(name), text.as_bytes())?;
    }
    Ok(Scripts {
        folder,
        tasks: launch.tasks.clone(),
    })
}

impl Scripts {
    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Submits the array and the report after it, and records their numbers.
    ///
    /// # Errors
    /// [`Error::Scheduler`] with what `sbatch` says.
    pub fn submit(self) -> Result<Submission, Error> {
        let script = |name: &str| self.folder.join(name).display().to_string();
        let array = job_number(&["--parsable".to_owned(), script("array.sh")])?;
        let after = format!("--dependency=afterany:{array}");
        let report = job_number(&["--parsable".to_owned(), after, script("report.sh")])?;
        let submission = Submission {
            array,
            report,
            tasks: self.tasks,
        };
        submission.record(&self.folder)?;
        Ok(submission)
    }
}

impl Submission {
    fn record(&self, folder: &Path) -> Result<(), Error> {
        let text = collapse_files::to_sealed_json(self)?;
        Ok(collapse_files::replace(&folder.join(SUBMISSION), &text)?)
    }
}

/// The jobs that wait or run for runs of the store whose submissions are in `folder`, by (group, seed).
///
/// Where Slurm does not answer, none.
///
/// # Errors
/// [`Error::Read`] when a submission cannot be read.
pub fn jobs(folder: &Path) -> Result<BTreeMap<(String, u64), String>, Error> {
    let submissions = submissions(folder)?;
    if submissions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let Some(queued) = queue() else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    for submission in submissions {
        for (index, task) in submission.tasks.into_iter().enumerate() {
            let job = format!("{}_{index}", submission.array);
            if queued.contains(&job) {
                found.insert((task.group, task.seed), job);
            }
        }
    }
    Ok(found)
}

/// Every task in the queue, `job_index`; `None` where Slurm does not answer.
fn queue() -> Option<Vec<String>> {
    // Jobs that are about to end, `COMPLETING`, make nothing any more.
    const AHEAD: &str = "--states=PENDING,CONFIGURING,RUNNING,SUSPENDED,REQUEUED,REQUEUE_HOLD";
    let mut command = Command::new("squeue");
    // `--array` lists each task by itself, `%F_%K` are the array's number and the task's.
    command.args(["--noheader", "--array", "--format=%F_%K", AHEAD]);
    let output = command.output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().map(str::to_owned).collect())
}

/// The submissions in `folder`, oldest first.
fn submissions(folder: &Path) -> Result<Vec<Submission>, Error> {
    let mut found = Vec::new();
    for number in 1.. {
        let of = numbered(folder, number);
        if !of.exists() {
            break;
        }
        let path = of.join(SUBMISSION);
        // Scripts that were written and not submitted have none.
        if let Ok(text) = std::fs::read(&path) {
            let read = collapse_files::from_json_sealed_or_not(&text);
            found.push(read.map_err(|error| Error::Damaged {
                path,
                message: error.to_string(),
            })?);
        }
    }
    Ok(found)
}

fn numbered(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:03}"))
}

/// The first number that is not taken.
fn new_folder(folder: &Path) -> Result<PathBuf, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Unwritable { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for number in 1.. {
        let of = numbered(folder, number);
        match std::fs::create_dir(&of) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| of.clone()).map_err(failed(&of)),
        }
    }
    Ok(folder.to_owned())
}

fn job_number(arguments: &[String]) -> Result<String, Error> {
    let scheduler = |message: String| Error::Scheduler { message };
    let output = Command::new("sbatch")
        .args(arguments)
        .output()
        .map_err(|error| {
            scheduler(format!(
                "sbatch cannot be started ({error}); run this where jobs are submitted"
            ))
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `number` or `number;cluster`.
    let number = text.trim().split(';').next().unwrap_or_default();
    if output.status.success() && !number.is_empty() {
        return Ok(number.to_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(scheduler(told.trim().to_owned()))
}

/// What stands at the head of both scripts.
fn header(launch: &Launch, kind: &str, log: &str, folder: &Path) -> String {
    let resources = &launch.resources;
    let mut text = format!(
        "#!/usr/bin/env bash\n#SBATCH --job-name=collapse-{}-{kind}\n#SBATCH --open-mode=append\n",
        launch.scale
    );
    let log = folder.join(log).display().to_string();
    let _ = writeln!(text, "#SBATCH --output={log}");
    for (flag, value) in [
        ("partition", &resources.partition),
        ("account", &resources.account),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "#SBATCH --{flag}={value}");
        }
    }
    if let Some(memory) = resources.memory_mib {
        let _ = writeln!(text, "#SBATCH --mem={memory}M");
    }
    text
}

fn array_script(launch: &Launch, folder: &Path) -> String {
    let resources = &launch.resources;
    let mut text = header(launch, "runs", "%A_%a.log", folder);
    let _ = writeln!(
        text,
        "#SBATCH --array=0-{}",
        launch.tasks.len().saturating_sub(1)
    );
    if let Some(minutes) = resources.minutes {
        let _ = writeln!(text, "#SBATCH --time={minutes}");
        // Slurm may warn up to a minute earlier; a short limit must leave time to work.
        let before = WARNED_BEFORE.min(15 * minutes);
        let _ = writeln!(text, "#SBATCH --signal=B:USR1@{before}");
    }
    if let Some(cores) = resources.cores {
        let _ = writeln!(text, "#SBATCH --cpus-per-task={cores}");
    }
    text.push_str("#SBATCH --requeue\n");
    let tasks = quoted(&[folder.join("tasks").display().to_string()]);
    let began = quoted(&[folder.join("began").display().to_string()]);
    let command = quoted(&launch.run);
    let _ = write!(
        text,
        r#"set -u
read -r group seed folder < <(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {tasks})
export RAYON_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
# Dated by the clock that dates the checkpoint.
began={began}-$SLURM_ARRAY_TASK_ID
: >"$began"
warned=
trap 'warned=1; kill -TERM "$run"' USR1
stopped=
# A cancellation reaches the program too; told twice, it would not stay to write its checkpoint.
trap 'stopped=1' TERM
{command} --group "$group" --seed "$seed" --jobs 1 --no-report &
run=$!
wait "$run"
code=$?
# A warning or a cancellation ends the first wait; the program then writes its checkpoint.
if [ -n "$warned$stopped" ]; then
    wait "$run"
    code=$?
fi
newer=
[ "$folder/checkpoint.safetensors" -nt "$began" ] && newer=1
rm -f "$began"
if [ -n "$warned" ] && [ -z "$stopped" ] && [ "$code" -eq 143 ]; then
    if [ -z "$newer" ]; then
        echo "the time limit is too short for a checkpoint; ask for more minutes" >&2
        exit 1
    fi
    echo "the time limit is near: queued again, goes on from the checkpoint"
    trap - TERM
    # The number of this task: the array's own would mean all of them.
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
    # Slurm ends this script now.
    sleep 60
fi
exit "$code"
"#
    );
    text
}

fn report_script(launch: &Launch, folder: &Path) -> String {
    let text = header(launch, "report", "report-%j.log", folder);
    format!("{text}#SBATCH --time=30\n{}\n", quoted(&launch.report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Resources;

    fn launch(folder: &Path) -> Launch {
        let task = |seed| Task {
            group: "l2".to_owned(),
            seed,
            folder: folder.join(format!("my runs/l2/seed-0{seed}")),
        };
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        Launch {
            scale: "tiny".to_owned(),
            folder: folder.join("slurm"),
            run: words("/bin/collapse reproduce --out it's"),
            report: words("/bin/collapse report"),
            tasks: vec![task(1), task(2)],
            resources: Resources {
                minutes: Some(90),
                memory_mib: Some(2000),
                cores: Some(4),
                partition: Some("long".to_owned()),
                account: None,
            },
        }
    }

    #[test]
    fn scripts_ask_for_what_was_said_and_each_submission_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let first = write(&launch(folder.path())).unwrap();
        let second = write(&launch(folder.path())).unwrap();
        assert_ne!(first.folder(), second.folder());
        let read = |name: &str| std::fs::read_to_string(first.folder().join(name)).unwrap();
        let script = read("array.sh");
        for line in [
            "#SBATCH --array=0-1",
            "#SBATCH --time=90",
            "#SBATCH --mem=2000M",
            "#SBATCH --cpus-per-task=4",
            "#SBATCH --partition=long",
            "#SBATCH --signal=B:USR1@120",
            r"/bin/collapse reproduce --out 'it'\''s' --group",
        ] {
            assert!(script.contains(line), "{script}\n has no {line}");
        }
        assert!(!script.contains("--account"));
        let tasks = read("tasks");
        assert!(
            tasks
                .lines()
                .nth(1)
                .unwrap()
                .ends_with("my runs/l2/seed-02"),
            "{tasks}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_warned_task_queues_itself_again_only_with_a_new_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        // A program that ends as ours does when it is told to, with and without a checkpoint, and a scheduler that notes.
        let program = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt;
            let path = bin.join(name);
            std::fs::write(&path, format!("#!/usr/bin/env bash\n{text}")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        };
        program("scontrol", "echo \"$@\" >> \"$NOTES\"");
        program("sleep", "exit 0");
        let run = program(
            "run",
            "trap '[ -n \"$SAVES\" ] && touch \"$SAVES\"; exit 143' TERM\ntouch \"$NOTES.begun\"\nwhile :; do /bin/sleep 0.05; done\n",
        );
        for saves in [true, false] {
            let notes = folder.path().join(format!("notes-{saves}"));
            let mut launch = launch(folder.path());
            launch.run = vec![run.clone()];
            std::fs::create_dir_all(&launch.tasks[1].folder).unwrap();
            let checkpoint = launch.tasks[1].folder.join("checkpoint.safetensors");
            let scripts = write(&launch).unwrap();
            let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
            let mut child = Command::new("bash")
                .arg(scripts.folder().join("array.sh"))
                .env("PATH", path)
                .env("NOTES", &notes)
                .env(
                    "SAVES",
                    if saves {
                        checkpoint.into_os_string()
                    } else {
                        "".into()
                    },
                )
                .env("SLURM_ARRAY_TASK_ID", "1")
                .env("SLURM_ARRAY_JOB_ID", "77")
                .spawn()
                .unwrap();
            let begun = notes.with_file_name(format!("notes-{saves}.begun"));
            while !begun.exists() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            let pid = child.id().to_string();
            Command::new("kill")
                .args(["-s", "USR1", &pid])
                .status()
                .unwrap();
            let code = child.wait().unwrap().code();
            let noted = std::fs::read_to_string(&notes).unwrap_or_default();
            match saves {
                true => assert_eq!((noted.as_str(), code), ("requeue 77_1\n", Some(143))),
                false => assert_eq!((noted.as_str(), code), ("", Some(1))),
            }
            let _ = std::fs::remove_file(launch.tasks[1].folder.join("checkpoint.safetensors"));
        }
    }

    #[test]
    fn a_submission_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let launch = launch(folder.path());
        let scripts = write(&launch).unwrap();
        assert!(
            jobs(&launch.folder).unwrap().is_empty(),
            "nothing was submitted"
        );
        let submission = Submission {
            array: "12".to_owned(),
            report: "13".to_owned(),
            tasks: launch.tasks.clone(),
        };
        submission.record(scripts.folder()).unwrap();
        assert_eq!(submissions(&launch.folder).unwrap(), [submission]);

        let path = scripts.folder().join(SUBMISSION);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("12", "21")).unwrap();
        assert!(matches!(
            submissions(&launch.folder),
            Err(Error::Damaged { .. })
        ));
    }
}
