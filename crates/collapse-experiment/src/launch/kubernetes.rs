//! An Indexed Job of Kubernetes, one index a run.
//!
//! The manifest is checked against the schema of the API; it has not been run on a cluster.

use std::fmt::Write as _;

use collapse_results::quoted;

use super::Launch;

/// Times a run is begun again after an error or an eviction; it goes on from its checkpoint.
const TRIES: usize = 20;

/// What a cluster must be told besides the resources.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The container image, which holds the program.
    pub image: String,
    /// The claim of a volume that all pods can write, with the store and the image sets.
    pub claim: String,
    /// Where it is mounted in the container.
    pub mount: String,
}

/// The manifest of the Job, as YAML.
#[must_use]
pub fn job(launch: &Launch, pod: &Pod) -> String {
    let n = launch.tasks.len();
    let mut cases = String::new();
    for (index, task) in launch.tasks.iter().enumerate() {
        let words = [
            "--group".to_owned(),
            task.group.clone(),
            "--seed".to_owned(),
            task.seed.to_string(),
        ];
        let _ = writeln!(cases, "{index}) set -- {} ;;", quoted(&words));
    }
    let script = format!(
        "case $JOB_COMPLETION_INDEX in\n{cases}esac\nexec {} \"$@\" --jobs 1 --no-report\n",
        quoted(&launch.run)
    );
    let resources = &launch.resources;
    let cores = resources.cores.unwrap_or(1);
    let mut text = String::new();
    let mut line = |indent: usize, content: &str| {
        let _ = writeln!(text, "{:indent$}{content}", "");
    };
    line(0, "apiVersion: batch/v1");
    line(0, "kind: Job");
    line(0, "metadata:");
    line(
        2,
        &format!("name: {}", scalar(&format!("collapse-{}", launch.scale))),
    );
    line(0, "spec:");
    line(2, "completionMode: Indexed");
    line(2, &format!("completions: {n}"));
    line(2, &format!("parallelism: {n}"));
    line(2, &format!("backoffLimitPerIndex: {TRIES}"));
    line(2, &format!("maxFailedIndexes: {n}"));
    line(2, "template:");
    line(4, "spec:");
    line(6, "restartPolicy: Never");
    line(
        6,
        "# After SIGTERM a run finishes its step and writes a checkpoint.",
    );
    line(6, "terminationGracePeriodSeconds: 90");
    line(6, "containers:");
    line(8, "- name: run");
    line(10, &format!("image: {}", scalar(&pod.image)));
    line(10, "command:");
    line(12, "- /bin/sh");
    line(12, "- -c");
    line(12, "- |");
    for shell in script.lines() {
        line(14, shell);
    }
    line(10, "env:");
    line(12, "- name: RAYON_NUM_THREADS");
    line(14, &format!("value: {}", scalar(&cores.to_string())));
    line(10, "resources:");
    line(12, "requests:");
    line(14, &format!("cpu: {}", scalar(&cores.to_string())));
    if let Some(memory) = resources.memory_mib {
        line(14, &format!("memory: {}", scalar(&format!("{memory}Mi"))));
        line(12, "limits:");
        line(14, &format!("memory: {}", scalar(&format!("{memory}Mi"))));
    }
    line(10, "volumeMounts:");
    line(12, "- name: store");
    line(14, &format!("mountPath: {}", scalar(&pod.mount)));
    line(6, "volumes:");
    line(8, "- name: store");
    line(10, "persistentVolumeClaim:");
    line(12, &format!("claimName: {}", scalar(&pod.claim)));
    text
}

/// A string for YAML, whose double-quoted form takes JSON's escapes.
fn scalar(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Task;
    use crate::manifest::Resources;

    #[test]
    fn the_job_has_an_index_a_run() {
        let task = |seed| Task {
            group: "l2".to_owned(),
            seed,
            folder: "x".into(),
        };
        let launch = Launch {
            scale: "tiny".to_owned(),
            folder: "x".into(),
            run: vec![
                "collapse".to_owned(),
                "reproduce".to_owned(),
                "--out".to_owned(),
                "/s/my runs".to_owned(),
            ],
            report: Vec::new(),
            tasks: vec![task(1), task(2)],
            resources: Resources {
                memory_mib: Some(2000),
                cores: Some(4),
                ..Resources::default()
            },
        };
        let pod = Pod {
            image: "registry/collapse:1".to_owned(),
            claim: "store".to_owned(),
            mount: "/s".to_owned(),
        };
        expect_test::expect![[r#"
            apiVersion: batch/v1
            kind: Job
            metadata:
              name: "collapse-tiny"
            spec:
              completionMode: Indexed
              completions: 2
              parallelism: 2
              backoffLimitPerIndex: 20
              maxFailedIndexes: 2
              template:
                spec:
                  restartPolicy: Never
                  # After SIGTERM a run finishes its step and writes a checkpoint.
                  terminationGracePeriodSeconds: 90
                  containers:
                    - name: run
                      image: "registry/collapse:1"
                      command:
                        - /bin/sh
                        - -c
                        - |
                          case $JOB_COMPLETION_INDEX in
                          0) set -- --group l2 --seed 1 ;;
                          1) set -- --group l2 --seed 2 ;;
                          esac
                          exec collapse reproduce --out '/s/my runs' "$@" --jobs 1 --no-report
                      env:
                        - name: RAYON_NUM_THREADS
                          value: "4"
                      resources:
                        requests:
                          cpu: "4"
                          memory: "2000Mi"
                        limits:
                          memory: "2000Mi"
                      volumeMounts:
                        - name: store
                          mountPath: "/s"
                  volumes:
                    - name: store
                      persistentVolumeClaim:
                        claimName: "store"
        "#]]
        .assert_eq(&job(&launch, &pod));
    }
}
