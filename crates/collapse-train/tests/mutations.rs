//! Checkpoints and event logs that were changed, cut or lost: errors, never another result.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};

use collapse_models::weights::{RawTensor, SealedFile, open, write_sealed};
use collapse_models::{Model, Net, NetConfig};
use collapse_testing::{Harness, Kind, PeakAlloc};
use collapse_train::{
    Checkpoint, Error, Event, HookError, InMemory, KeepConfig, Observer, Step, TrainConfig,
    TrainedWeights, Trainer, read_state,
};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn set() -> InMemory {
    let labels: Vec<usize> = (0..12).map(|i| i % 2).collect();
    InMemory {
        images: labels.iter().flat_map(|&c| [c as f32 - 0.5; 64]).collect(),
        labels,
        n_classes: 2,
        side: 8,
        channels: 1,
    }
}

fn trainer(folder: &Path) -> Trainer {
    let mut net = NetConfig::new(Net::Resnet18, 2);
    (
        net.width,
        net.input_size,
        net.in_channels,
        net.spectral_norm,
    ) = (1, 8, 1, None);
    let config = TrainConfig {
        epochs: 3,
        batch_size: 4,
        ..TrainConfig::default()
    };
    Trainer::new(net, config, folder)
        .unwrap()
        .measured_epochs([0, 2, 3])
}

/// Measures something, and stops the run by a failure after so many steps.
struct Measuring {
    steps: usize,
}

impl Observer for Measuring {
    fn step(&mut self, _step: &Step) {
        self.steps = self.steps.saturating_sub(1);
        assert!(self.steps > 0, "killed");
    }

    fn evaluate(
        &mut self,
        epoch: usize,
        _model: &mut dyn Model,
    ) -> Result<Option<Value>, HookError> {
        Ok(Some(json!({ "measured": epoch })))
    }
}

/// A folder whose run was killed in the middle of epoch 3, after a checkpoint within it.
fn killed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let keep = KeepConfig {
        interval_seconds: 0.0,
        ..KeepConfig::default()
    };
    let run = || {
        trainer(folder.path())
            .keep(keep)
            .run(&set(), &mut Measuring { steps: 8 })
            .map(drop)
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    let state = read_state(&checkpoint(folder.path())).unwrap();
    assert_eq!((state.epoch, state.within.unwrap().steps), (2, 1));
    assert_eq!(state.evaluated, [0, 2]);
    folder
}

fn checkpoint(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

fn sealed(path: &Path) -> SealedFile {
    open(path).unwrap().into_sealed().unwrap()
}

/// The checkpoint with another state, and tensors changed by `change`, under a seal that fits.
fn forge(folder: &Path, about: impl Fn(&mut Value), change: impl Fn(&str, &mut Vec<u8>)) {
    let path = checkpoint(folder);
    let file = sealed(&path);
    let mut state: Value = file.about().unwrap();
    state.as_object_mut().unwrap().remove("seal");
    about(&mut state);
    let stored = file.tensors().unwrap();
    let tensors: Vec<_> = stored.tensors();
    let raw: Vec<RawTensor<'_>> = tensors
        .iter()
        .map(|(name, view)| {
            let mut bytes = view.data().to_vec();
            change(name, &mut bytes);
            RawTensor {
                name: name.clone(),
                dtype: view.dtype(),
                shape: view.shape(),
                bytes,
            }
        })
        .collect();
    write_sealed(&path, &state, &raw).unwrap();
}

#[test]
fn positions_that_no_run_reaches_are_refused() {
    let huge = 1u64 << 63;
    let cases: [(&str, Value, &str); 12] = [
        ("/epoch", json!(7), "epoch 7 of 3"),
        ("/epoch", json!(huge), "epoch"),
        ("/epoch", json!(-1), "not a valid checkpoint"),
        ("/epoch", json!(3), "not a valid checkpoint"),
        ("/epoch", json!(1), "evaluations"),
        ("/step", json!(huge), "steps"),
        ("/step", json!(8), "steps"),
        ("/within/hits", json!(1_000_000), "1000000 hits"),
        ("/within/steps", json!(huge), "steps"),
        ("/within/images", json!(0), "0 images"),
        ("/evaluated", json!([0, 9]), "evaluations"),
        ("/train/batch_size", json!(0), "batch_size"),
    ];
    for (field, value, reason) in cases {
        let folder = killed();
        let about = |state: &mut Value| *state.pointer_mut(field).unwrap() = value.clone();
        forge(folder.path(), about, |_, _| {});
        let error = trainer(folder.path())
            .run(&set(), &mut Measuring { steps: 99 })
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(text.contains(reason), "{field} = {value}: {text}");
        let error = Checkpoint::read(&checkpoint(folder.path()));
        assert!(error.is_err() || field == "/step", "{field} = {value}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let folder = killed();
    let not_a_number = |name: &str, bytes: &mut Vec<u8>| {
        if name == "model.fc.bias" {
            bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
    };
    forge(folder.path(), |_| {}, not_a_number);
    let path = checkpoint(folder.path());
    let error = TrainedWeights::read(&path, || unreachable!("a checkpoint knows its network"));
    let text = error.err().unwrap().to_string();
    assert!(text.contains("fc.bias") && text.contains("NaN"), "{text}");
}

#[test]
fn other_formats_are_named() {
    for (format, reason) in [
        (
            "collapse.checkpoint/3",
            "format `collapse.checkpoint/3`, this version reads",
        ),
        ("collapse.weights/1", "format `collapse.weights/1`"),
    ] {
        let folder = killed();
        forge(
            folder.path(),
            |state| state["format"] = json!(format),
            |_, _| {},
        );
        let text = read_state(&checkpoint(folder.path()))
            .unwrap_err()
            .to_string();
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn lost_and_cut_event_logs_are_told() {
    let cases = [
        ("lost", 0..0, "lacks epoch 1"),
        ("cut", 0..2, "lacks epoch 2"),
        ("without its last", 0..3, "evaluation after epoch 2"),
        ("without its first", 1..4, "line 1"),
    ];
    for (what, kept, reason) in cases {
        let folder = killed();
        let log = folder.path().join("events.jsonl");
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        // Evaluation 0, epochs 1 and 2, evaluation 2.
        assert_eq!(lines.len(), 4);
        std::fs::write(&log, lines[kept].concat()).unwrap();
        let error = trainer(folder.path())
            .run(&set(), &mut Measuring { steps: 99 })
            .err()
            .unwrap();
        assert!(error.to_string().contains(reason), "{what}: {error}");
    }
    let folder = killed();
    std::fs::remove_file(folder.path().join("events.jsonl")).unwrap();
    let error = trainer(folder.path())
        .run(&set(), &mut Measuring { steps: 99 })
        .err()
        .unwrap();
    assert!(
        matches!(error, Error::EventsLost { epoch: 2, .. }),
        "{error}"
    );
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = killed();
    let original = std::fs::read(checkpoint(folder.path())).unwrap();
    let damaged = folder.path().join("damaged.safetensors");
    let read = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).unwrap();
        Checkpoint::read(&damaged)
    };
    let tally = Harness::new("checkpoint.safetensors", Kind::Sealed).run(&original, read);
    assert_eq!(tally.other, 0);
}

#[test]
fn damaged_event_logs_are_refused() {
    let folder = killed();
    let state = read_state(&checkpoint(folder.path())).unwrap();
    let original = std::fs::read(folder.path().join("events.jsonl")).unwrap();
    let damaged = folder.path().join("damaged.jsonl");
    let read = |bytes: &[u8]| -> Result<Vec<Event>, Error> {
        std::fs::write(&damaged, bytes).unwrap();
        state.events(&damaged)
    };
    let tally = Harness::new("events.jsonl", Kind::Sealed).run(&original, read);
    assert_eq!(tally.other, 0);
}
