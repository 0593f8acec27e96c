//! Files of weights as users have them: PyTorch's forms, other code bases' names, damaged and mistaken files.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::path::{Path, PathBuf};

use collapse_models::weights::{NamedTensors, RawTensor, export, load, open, read, write_sealed};
use collapse_models::{Net, NetConfig, Parameters};
use common::{Pickle, Tensor, archive, numbers};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/samples")
        .join(name)
}

/// `bytes` in a file called `name`, read.
fn read_as(name: &str, bytes: &[u8]) -> Result<NamedTensors, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read(&path).map_err(|error| error.to_string())
}

fn refused(bytes: &[u8], reason: &str) {
    let error = read_as("net.pt", bytes).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

fn config() -> NetConfig {
    let mut config = NetConfig::new(Net::Resnet50, 3);
    (config.width, config.input_size, config.modified) = (1, 8, false);
    config
}

fn named(parameters: &Parameters<f32>) -> NamedTensors {
    let tensors = parameters.iter().map(|(spec, values)| {
        let values = values.iter().map(|x| f64::from(*x)).collect();
        (spec.name.clone(), (spec.shape.clone(), values))
    });
    tensors.collect()
}

/// The network's tensors under other names, filled into a network.
fn filled(rename: impl Fn(&str) -> String) -> Result<(), String> {
    let parameters = Parameters::<f32>::initialise(&config(), 3).unwrap();
    let tensors = named(&parameters).into_iter();
    let tensors = tensors
        .map(|(name, tensor)| (rename(&name), tensor))
        .collect();
    let mut back = Parameters::<f32>::initialise(&config(), 4).unwrap();
    back.fill(&tensors).map_err(|error| error.to_string())?;
    assert_eq!(back, parameters);
    Ok(())
}

/// Samples written by PyTorch 2: of one state dict by protocols 2 and 4, and in the form of before 1.6.
#[test]
fn every_form_of_torch_save_gives_the_same_tensors() {
    for name in ["plain.pt", "legacy.pt", "p4.pt"] {
        let tensors = read(&sample(name)).unwrap();
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(names, ["b", "bn.n", "conv.weight", "h", "p"], "{name}");
        let (shape, values) = &tensors["conv.weight"];
        assert_eq!(*shape, [2, 3, 2, 2]);
        assert_eq!(
            values[..2],
            [-1.125_839_829_444_885_3, -1.152_360_200_881_958]
        );
        assert_eq!(values[23], -2.316_041_946_411_133);
        assert_eq!(tensors["bn.n"], (vec![], vec![7.0]));
        assert_eq!(tensors["b"].1, [0.773_437_5, 0.191_406_25, 1.265_625]);
        assert_eq!(
            tensors["h"].1,
            [0.370_361_328_125, 1.456_054_687_5, 0.939_941_406_25]
        );
        assert_eq!(tensors["p"].1, [0.0, 1.0, 2.0, 3.0]);
    }
}

#[test]
fn strided_tensors_are_read_in_their_own_order() {
    let plain = read(&sample("plain.pt")).unwrap();
    for name in ["strided.pt", "strided-legacy.pt"] {
        let tensors = read(&sample(name)).unwrap();
        assert_eq!(
            tensors["conv.weight"], plain["conv.weight"],
            "channels_last in {name}"
        );
        // arange(12).reshape(3, 4).t()[1:]
        let (shape, values) = &tensors["v"];
        assert_eq!(*shape, [3, 3]);
        assert_eq!(*values, [1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0]);
    }
}

#[test]
fn the_content_decides_and_not_the_name() {
    let plain = read(&sample("plain.pt")).unwrap();
    let bytes = std::fs::read(sample("plain.pt")).unwrap();
    for name in ["net.bin", "net.ckpt", "NET.PTH", "net.safetensors", "net"] {
        assert_eq!(read_as(name, &bytes).unwrap(), plain);
    }
}

#[test]
fn lone_tensors_do_not_hide_the_weights() {
    // {'epoch': 3, 'best_acc1': tensor(93.4), 'state_dict': …, 'optimizer': {'state': {0: {'m': tensor}}}}
    let plain = read(&sample("plain.pt")).unwrap();
    assert_eq!(read(&sample("lone.pth.tar")).unwrap(), plain);
}

#[test]
fn the_dictionary_that_fits_the_network_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.pt");
    let some = ["bn1.weight", "bn1.bias"];
    let more = ["a", "b", "c"];
    let three = numbers(&[1.0, 2.0]);
    let checkpoint = |first: &str, second: &str, names: &[&str]| {
        let pickle = Pickle::new().raw(b"}(").text(first).vectors(&some, 2);
        let pickle = pickle.text(second).vectors(names, 2).raw(b"u").finish();
        let storages: Vec<&[u8]> = vec![&three; 3];
        std::fs::write(&path, archive(&pickle, &storages, b"little")).unwrap();
    };
    let mut parameters = Parameters::<f32>::initialise(&config(), 1).unwrap();
    let mut refusal = || load(&path, &mut parameters).unwrap_err().to_string();
    // The discriminator has more tensors, but none of the network.
    checkpoint("generator", "discriminator", &more);
    let text = refusal();
    assert!(
        text.contains("missing") && !text.contains("unexpected"),
        "{text}"
    );
    checkpoint("student", "teacher", &some);
    let text = refusal();
    assert!(
        text.contains("`student` and `teacher` fit equally well"),
        "{text}"
    );
    checkpoint("ema", "state_dict", &some);
    let text = refusal();
    assert!(
        text.contains("missing"),
        "the customary name decides: {text}"
    );
}

#[test]
fn names_of_parametrised_spectral_norms_and_averages_find_their_place() {
    filled(|name| {
        let name = name.replace("weight_orig", "parametrizations.weight.original");
        let name = name.replace("weight_u", "parametrizations.weight.0._u");
        name.replace("weight_v", "parametrizations.weight.0._v")
    })
    .unwrap();
    let parameters = Parameters::<f32>::initialise(&config(), 3).unwrap();
    let mut tensors: NamedTensors = named(&parameters)
        .into_iter()
        .map(|(name, tensor)| (format!("module.{name}"), tensor))
        .collect();
    tensors.insert("n_averaged".to_owned(), (vec![], vec![17.0]));
    let mut back = Parameters::<f32>::initialise(&config(), 4).unwrap();
    back.fill(&tensors).unwrap();
    assert_eq!(back, parameters);
}

#[test]
fn a_parameter_that_is_there_twice_is_named_twice() {
    let parameters = Parameters::<f32>::initialise(&config(), 3).unwrap();
    let mut tensors = named(&parameters);
    for prefix in ["model", "net"] {
        tensors.insert(format!("{prefix}.bn1.bias"), (vec![1], vec![0.5]));
    }
    tensors.remove("bn1.bias");
    let mut back = parameters.clone();
    let text = back.fill(&tensors).unwrap_err().to_string();
    assert!(
        text.contains("`model.bn1.bias` and `net.bn1.bias`"),
        "{text}"
    );
    assert_eq!(back, parameters);
}

#[test]
fn a_long_list_of_names_is_cut() {
    let text = filled(|name| format!("backbone.{name}")).unwrap_err();
    assert!(text.contains("more"), "{text}");
    assert!(text.len() < 2000, "{}", text.len());
}

#[test]
fn big_endian_checkpoints_are_read_as_such() {
    let pickle = Pickle::new().vectors(&["w"], 2).finish();
    let big: Vec<u8> = [1.5f32, -2.0]
        .iter()
        .flat_map(|x| x.to_be_bytes())
        .collect();
    let tensors = read_as("net.pt", &archive(&pickle, &[&big], b"big")).unwrap();
    assert_eq!(tensors["w"].1, [1.5, -2.0]);
    refused(&archive(&pickle, &[&big], b"middle"), "byte order `middle`");
}

#[test]
fn hostile_pickles_are_refused() {
    let one = numbers(&[1.0]);
    let tensor = |tensor: Tensor<'_>| {
        let pickle = Pickle::new()
            .raw(b"}(")
            .text("w")
            .tensor(tensor)
            .raw(b"u")
            .finish();
        archive(&pickle, &[&one], b"little")
    };
    let sound = Tensor {
        class: "FloatStorage",
        key: "0",
        len: 1,
        offset: 0,
        shape: &[1],
        strides: &[1],
    };
    assert_eq!(read_as("net.pt", &tensor(sound)).unwrap()["w"].1, [1.0]);
    let million = [1 << 10, 1 << 10, 1 << 10];
    for (changed, reason) in [
        (
            Tensor {
                shape: &million,
                strides: &[0, 0, 0],
                ..sound
            },
            "larger than a file of this size",
        ),
        (
            Tensor {
                shape: &[2],
                ..sound
            },
            "reaches beyond its storage",
        ),
        (Tensor { offset: 1, ..sound }, "reaches beyond its storage"),
        (
            Tensor {
                offset: -1,
                ..sound
            },
            "not stored as PyTorch stores tensors",
        ),
        (
            Tensor {
                shape: &[1, 1],
                ..sound
            },
            "not stored as PyTorch stores tensors",
        ),
        (
            Tensor {
                len: i32::MAX,
                ..sound
            },
            "larger than a file of this size",
        ),
        (Tensor { len: 2, ..sound }, "instead of 8"),
        (Tensor { key: "7", ..sound }, "data/7"),
        (
            Tensor {
                key: "../version",
                ..sound
            },
            "damaged entry",
        ),
        (
            Tensor {
                class: "ComplexFloatStorage",
                ..sound
            },
            "ComplexFloatStorage",
        ),
    ] {
        refused(&tensor(changed), reason);
    }
    let nested = Pickle::new().raw(b")").raw(&[0x85; 200_000]).finish();
    refused(&archive(&nested, &[], b"little"), "it holds a list");
    let dictionaries = Pickle::new()
        .raw(&b"}X\x01\0\0\0a".repeat(100_000))
        .raw(&b"s".repeat(99_999));
    refused(
        &archive(&dictionaries.finish(), &[], b"little"),
        "cannot be read",
    );
}

#[test]
fn a_flipped_bit_in_a_storage_is_told() {
    let pickle = Pickle::new().vectors(&["w"], 2).finish();
    let values = numbers(&[1.0, 2.0]);
    let mut bytes = archive(&pickle, &[&values], b"little");
    let at = bytes.windows(8).position(|part| part == values).unwrap();
    bytes[at + 2] ^= 1;
    refused(&bytes, "damaged entry `archive/data/0`");
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name() {
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer",
        ),
        (
            b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.",
            "a pickle that `torch.save` did not write",
        ),
        (b"<!doctype html>", "a web page"),
        (b"hello", "of no known kind"),
    ] {
        refused(bytes, reason);
    }
    let module = Pickle::new()
        .raw(b"cmodels.resnet\nResNet\n)\x81}b")
        .finish();
    refused(
        &archive(&module, &[], b"little"),
        "a pickled object of class `models.resnet.ResNet`",
    );
    let scalar = Pickle::new()
        .raw(b"}(")
        .text("epoch")
        .raw(b"K\x07u")
        .finish();
    refused(&archive(&scalar, &[], b"little"), "its keys: epoch");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.safetensors");
    let features = RawTensor {
        name: "features".to_owned(),
        dtype: safetensors::Dtype::F32,
        shape: &[1, 1],
        bytes: numbers(&[1.0]),
    };
    let view = safetensors::tensor::TensorView::new(features.dtype, vec![1, 1], &features.bytes);
    let bytes = safetensors::serialize([("features", view.unwrap())], None).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains("it is a feature file"), "{text}");

    #[derive(serde::Serialize)]
    struct About {
        format: &'static str,
    }
    let newer = About {
        format: "collapse.weights/2",
    };
    write_sealed(&path, &newer, &[features]).unwrap();
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains("format `collapse.weights/2`"), "{text}");
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    for path in ["/dev/zero", "/tmp", "/nowhere/at/all"] {
        let text = read(Path::new(path)).unwrap_err().to_string();
        assert!(
            text.contains("not a regular file") || text.contains("cannot be read"),
            "{text}"
        );
    }
}

#[test]
fn numbers_that_are_none_are_neither_taken_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let parameters = Parameters::<f32>::initialise(&config(), 3).unwrap();
    export(&path, &parameters).unwrap();
    let written = std::fs::read(&path).unwrap();
    for (name, value) in [
        ("fc.weight", f64::NAN),
        ("fc.bias", 1e300),
        ("bn1.running_var", -1.0),
    ] {
        let mut tensors = named(&parameters);
        tensors.get_mut(name).unwrap().1[0] = value;
        let mut back = parameters.clone();
        let text = back.fill(&tensors).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
        assert_eq!(back, parameters);
        let mut broken = parameters.clone();
        let index = broken.id_of(name).unwrap();
        broken.get_mut(index)[0] = value as f32;
        export(&path, &broken).unwrap_err();
        assert!(
            std::fs::read(&path).unwrap() == written,
            "the old file stands"
        );
    }
}

#[cfg(unix)]
#[test]
fn writing_touches_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    std::fs::write(&other, "precious").unwrap();
    let temporary = folder.path().join("net.safetensors.tmp");
    std::os::unix::fs::symlink(&other, &temporary).unwrap();
    let parameters = Parameters::<f32>::initialise(&config(), 3).unwrap();
    export(&folder.path().join("net.safetensors"), &parameters).unwrap();
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
    assert!(std::fs::symlink_metadata(&temporary).unwrap().is_symlink());
    // A folder stands where the file should: nothing is written and nothing is left.
    let taken = folder.path().join("taken");
    std::fs::create_dir_all(taken.join("net.safetensors/x")).unwrap();
    export(&taken.join("net.safetensors"), &parameters).unwrap_err();
    assert_eq!(std::fs::read_dir(&taken).unwrap().count(), 1);
}

#[test]
fn a_sealed_file_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let parameters = Parameters::<f32>::initialise(&config(), 3).unwrap();
    export(&path, &parameters).unwrap();
    let file = open(&path).unwrap().into_sealed().unwrap();
    assert_eq!(file.format(), "collapse.weights/1");
    // Without its seal it is not taken for another's.
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(16)
        .position(|part| part == b"collapse-sha256:")
        .unwrap();
    let mut bare = bytes.clone();
    bare[at] = b'C';
    let text = read_as("net.safetensors", &bare).unwrap_err();
    assert!(text.contains("seal does not fit"), "{text}");
}
