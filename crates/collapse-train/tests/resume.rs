//! A run that is stopped and continued ends with the bytes of one that was not, on one thread
//! and on two, from any step; another configuration is refused; numbers that are none stop the run.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use collapse_models::{Device, L2Mode, Model, Net, NetConfig};
use collapse_random::Stream;
use collapse_train::{
    Checkpoint, Error, Event, HookError, InMemory, KeepConfig, LossConfig, Observer, Precision,
    SgdConfig, Step, TrainConfig, Trainer, extract, read_events, read_state,
};

/// Noisy images of three classes that differ in their mean.
fn set() -> InMemory {
    let mut stream = Stream::new(11, "images", 0);
    let labels: Vec<usize> = (0..50).map(|i| i % 3).collect();
    let images = labels
        .iter()
        .flat_map(|&c| {
            (0..12 * 12)
                .map(|_| (c as f64 - 1.0 + 0.5 * stream.normal()) as f32)
                .collect::<Vec<_>>()
        })
        .collect();
    InMemory {
        images,
        labels,
        n_classes: 3,
        side: 12,
        channels: 1,
    }
}

fn net() -> NetConfig {
    let mut net = NetConfig::new(Net::Resnet18, 3);
    (net.width, net.input_size, net.in_channels) = (8, 12, 1);
    net.l2 = L2Mode::TrainAndInference;
    net
}

fn config(precision: Precision) -> TrainConfig {
    TrainConfig {
        epochs: 4,
        batch_size: 16,
        sgd: SgdConfig {
            learning_rate: 0.05,
            ..SgdConfig::default()
        },
        ema_decay: Some(0.9),
        precision,
        ..TrainConfig::default()
    }
}

/// Stops the run after a number of steps and measures the network at the hooks.
struct Interruption {
    steps_left: usize,
    stop: Arc<AtomicBool>,
    set: InMemory,
}

impl Observer for Interruption {
    fn step(&mut self, _step: &Step) {
        self.steps_left = self.steps_left.saturating_sub(1);
        if self.steps_left == 0 {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn evaluate(
        &mut self,
        _epoch: usize,
        model: &mut dyn Model,
    ) -> Result<Option<serde_json::Value>, HookError> {
        let features = extract(
            model,
            &self.set,
            16,
            &[],
            &mut |_| ControlFlow::Continue(()),
        )?;
        Ok(Some(features.features.to_f64().sum().into()))
    }
}

/// Trains in `folder`, stopping after each of `stops` steps; returns checkpoint and events.
fn train(folder: &Path, config: &TrainConfig, stops: &[usize]) -> (Vec<u8>, Vec<Event>) {
    let set = set();
    for &steps_left in stops.iter().chain([&usize::MAX]) {
        let stop = Arc::new(AtomicBool::new(false));
        let trainer = Trainer::new(net(), config.clone(), folder)
            .unwrap()
            .data_hash("three classes")
            .stop_flag(stop.clone());
        let mut observer = Interruption {
            steps_left,
            stop,
            set: set.clone(),
        };
        match trainer.run(&set, &mut observer) {
            Ok(_) => break,
            Err(Error::Interrupted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let bytes = std::fs::read(folder.join("checkpoint.safetensors")).unwrap();
    let events = read_events(&folder.join("events.jsonl")).unwrap();
    (bytes, events.into_iter().map(Event::without_time).collect())
}

fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

#[test]
fn interrupted_runs_end_with_the_same_bytes() {
    for precision in [Precision::F32, Precision::Bf16] {
        let config = config(precision);
        let folder = || tempfile::tempdir().unwrap();
        let whole = in_pool(2, || train(folder().path(), &config, &[]));
        let parts = in_pool(1, || train(folder().path(), &config, &[1, 5, 4, 3, 7]));
        assert_eq!(whole.1, parts.1);
        assert!(whole.0 == parts.0, "checkpoints differ in {precision:?}");
        // Epochs 1 to 4, evaluations at 0 to 4.
        assert_eq!(whole.1.len(), 9);
    }
}

/// Raises the stop flag while it measures, as Ctrl-C would, and gives up.
struct StoppedMeasuring {
    at: usize,
    inner: Interruption,
}

impl Observer for StoppedMeasuring {
    fn evaluate(
        &mut self,
        epoch: usize,
        model: &mut dyn Model,
    ) -> Result<Option<serde_json::Value>, HookError> {
        if epoch == self.at {
            let stop = &self.inner.stop;
            stop.store(true, Ordering::Relaxed);
            let watch = &mut |_| match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let error = extract(model, &self.inner.set, 16, &[], watch).unwrap_err();
            assert!(matches!(error, Error::Stopped), "{error}");
            return Err(error.into());
        }
        self.inner.evaluate(epoch, model)
    }
}

#[test]
fn a_run_stopped_while_measuring_loses_no_step() {
    let config = config(Precision::F32);
    let folder = || tempfile::tempdir().unwrap();
    let whole = train(folder().path(), &config, &[]);
    for at in [0, 2, 4] {
        let stopped = folder();
        let stop = Arc::new(AtomicBool::new(false));
        let mut observer = StoppedMeasuring {
            at,
            inner: Interruption {
                steps_left: usize::MAX,
                stop: stop.clone(),
                set: set(),
            },
        };
        let trainer = Trainer::new(net(), config.clone(), stopped.path())
            .unwrap()
            .data_hash("three classes")
            .stop_flag(stop);
        let error = trainer.run(&set(), &mut observer).err().unwrap();
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        if at > 0 {
            let state = read_state(&trainer.checkpoint()).unwrap();
            assert_eq!((state.epoch, state.step), (at - 1, 4 * at as u64));
        }
        assert!(
            whole == train(stopped.path(), &config, &[]),
            "stopped at {at}"
        );
    }
}

/// Keeps a copy of the folder as it stands after some step, as a kill there would leave it.
struct Copies<'a> {
    from: &'a Path,
    to: &'a Path,
    at: usize,
    steps: usize,
}

impl Observer for Copies<'_> {
    fn step(&mut self, _step: &Step) {
        self.steps += 1;
        if self.steps == self.at {
            for entry in std::fs::read_dir(self.from).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, self.to.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn a_run_killed_at_any_step_ends_with_the_same_bytes() {
    let mut net = net();
    (net.net, net.width, net.dropout) = (Net::WideResnet28, 3, 0.3);
    let config = TrainConfig {
        epochs: 2,
        warm_up_epochs: 1,
        clip_norm: Some(3.0),
        ..config(Precision::F32)
    };
    let trainer = |folder: &Path| {
        let keep = KeepConfig {
            interval_seconds: 0.0,
            ..KeepConfig::default()
        };
        let trainer = Trainer::new(net.clone(), config.clone(), folder).unwrap();
        trainer.keep(keep).measured_epochs([])
    };
    let bytes = |folder: &Path| std::fs::read(folder.join("checkpoint.safetensors")).unwrap();
    let history = |folder: &Path| -> Vec<Event> {
        let events = read_events(&folder.join("events.jsonl")).unwrap();
        events.into_iter().map(Event::without_time).collect()
    };
    // Four steps an epoch; the checkpoint of a step is written after the observer has seen it.
    for at in [2, 3, 4, 5, 7] {
        let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut copies = Copies {
            from: whole.path(),
            to: killed.path(),
            at,
            steps: 0,
        };
        trainer(whole.path()).run(&set(), &mut copies).unwrap();
        let state = read_state(&killed.path().join("checkpoint.safetensors")).unwrap();
        let within = state.within.map_or(0, |part| part.steps);
        assert_eq!(4 * state.epoch + within, at - 1);
        trainer(killed.path()).run(&set(), &mut ()).unwrap();
        assert!(
            bytes(whole.path()) == bytes(killed.path()),
            "killed at {at}"
        );
        assert_eq!(history(whole.path()), history(killed.path()));
    }
}

#[test]
fn the_network_learns() {
    let folder = tempfile::tempdir().unwrap();
    let (_, events) = train(folder.path(), &config(Precision::F32), &[]);
    let losses: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Epoch(record) => Some(record.loss),
            Event::Evaluation { .. } => None,
        })
        .collect();
    assert!(losses[3] < 0.9 * losses[0], "{losses:?}");
}

#[test]
fn the_collapse_loss_is_logged_by_component_and_falls() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 6,
        loss: LossConfig::NeuralCollapse {
            weights: Default::default(),
        },
        clip_norm: Some(5.0),
        ..config(Precision::F32)
    };
    let trained = Trainer::new(net(), config, folder.path())
        .unwrap()
        .run(&set(), &mut ())
        .unwrap();
    let (first, last) = (&trained.history[0], &trained.history[5]);
    assert_eq!(first.components.len(), 6);
    let sum: f64 = first.components.values().sum();
    assert!((sum - first.loss).abs() < 1e-9);
    assert!(last.loss < first.loss, "{} then {}", first.loss, last.loss);
}

#[test]
fn another_configuration_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let one = TrainConfig {
        epochs: 1,
        ..config(Precision::F32)
    };
    train(folder.path(), &one, &[]);
    let refuse = |net: NetConfig, config: TrainConfig, hash: &str, name: &str| {
        let error = Trainer::new(net, config, folder.path())
            .unwrap()
            .data_hash(hash)
            .run(&set(), &mut ())
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(matches!(error, Error::OtherRun { .. }), "{text}");
        assert!(text.contains(name), "{text}");
    };
    let mut plain = net();
    plain.l2 = L2Mode::Off;
    refuse(plain, one.clone(), "three classes", "net.l2");
    let longer = TrainConfig {
        epochs: 2,
        ..one.clone()
    };
    refuse(
        net(),
        longer,
        "three classes",
        "train.epochs is 1 there and 2 here",
    );
    refuse(net(), one, "others", "data_hash");
}

#[test]
fn kept_checkpoints_are_whole_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    Trainer::new(net(), config(Precision::F32), folder.path())
        .unwrap()
        .keep(KeepConfig {
            last: 2,
            epochs: vec![1],
            ..KeepConfig::default()
        })
        .run(&set(), &mut ())
        .unwrap();
    let kept = |epoch: usize| {
        folder
            .path()
            .join(format!("checkpoints/epoch-{epoch:05}.safetensors"))
    };
    let stand: Vec<usize> = (0..6).filter(|&epoch| kept(epoch).exists()).collect();
    assert_eq!(stand, [1, 3, 4]);
    assert_eq!(read_state(&kept(3)).unwrap().epoch, 3);
    assert_eq!(Checkpoint::read(&kept(1)).unwrap().state.step, 4);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = set();
    set.images[0] = f32::NAN;
    let error = Trainer::new(net(), config(Precision::F32), folder.path())
        .unwrap()
        .run(&set, &mut ())
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            Error::Diverged {
                epoch: 1,
                checkpoint: None,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn no_checkpoint_holds_a_weight_that_is_no_number() {
    let folder = tempfile::tempdir().unwrap();
    // One step an epoch: its loss is finite, the weights after it are not.
    let mut config = config(Precision::F32);
    (config.batch_size, config.sgd.learning_rate) = (50, 1e38);
    config.sgd.weight_decay = 1e3;
    let trainer = Trainer::new(net(), config, folder.path()).unwrap();
    let error = trainer.run(&set(), &mut ()).err().unwrap();
    let expected = Error::NotFinite {
        tensor: "bn1.weight".to_owned(),
        epoch: 1,
        step: 1,
        loss: 0.0,
        checkpoint: None,
    };
    let text = error.to_string();
    assert_eq!(
        std::mem::discriminant(&error),
        std::mem::discriminant(&expected),
        "{text}"
    );
    assert!(text.contains("step 1 of epoch 1"), "{text}");
    assert!(!trainer.checkpoint().exists());
}

#[test]
fn no_checkpoint_holds_a_network_whose_features_are_no_numbers() {
    for (epochs, precision) in [
        (1, Precision::F32),
        (3, Precision::F32),
        (1, Precision::Bf16),
    ] {
        let folder = tempfile::tempdir().unwrap();
        // One step an epoch: loss and weights are finite, the network with these weights is not.
        let mut config = config(precision);
        (config.epochs, config.batch_size) = (epochs, 50);
        config.sgd.learning_rate = 1e30;
        let trainer = Trainer::new(net(), config, folder.path()).unwrap();
        let text = trainer.run(&set(), &mut ()).err().unwrap().to_string();
        for part in [
            "the training diverged",
            "`features`",
            "step 1 of epoch 1",
            "no checkpoint yet",
            "lower the learning rate",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!trainer.checkpoint().exists());
    }
}

#[test]
fn candle_trains_the_same_network() {
    let run = |device: Device| {
        let folder = tempfile::tempdir().unwrap();
        let config = TrainConfig {
            epochs: 1,
            ..config(Precision::F32)
        };
        let trainer = Trainer::new(net(), config, folder.path()).unwrap();
        let trained = trainer.device(device).run(&set(), &mut ()).unwrap();
        trained.history[0].loss
    };
    let (ours, theirs) = (run(Device::Cpu), run(Device::Candle));
    assert!((ours - theirs).abs() < 1e-4, "{ours} and {theirs}");
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    for bytes in [&b""[..], &b"\x02\0\0\0\0\0\0\0{}"[..], &[255u8; 64][..]] {
        std::fs::write(&path, bytes).unwrap();
        let trainer = Trainer::new(net(), config(Precision::F32), folder.path()).unwrap();
        let error = trainer.run(&set(), &mut ()).err().unwrap();
        assert!(
            error.to_string().contains("not a valid checkpoint"),
            "{error}"
        );
    }
}
