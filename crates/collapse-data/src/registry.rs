//! The one table of sets.

use serde::Serialize;

use crate::{Constants, ImageShape, Part};

/// A file of a set at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RemoteFile {
    /// Which part it holds.
    pub part: Part,
    /// Path in the repository of the Hugging Face hub.
    pub path: &'static str,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetInfo {
    /// The name users write.
    pub name: &'static str,
    /// The name papers write.
    pub title: &'static str,
    /// Data-set repository on the Hugging Face hub.
    pub repository: &'static str,
    /// Files there.
    pub files: &'static [RemoteFile],
    /// Label column in the parquet files.
    pub label_column: &'static str,
    /// Training images, 0 where the benchmark does not use them.
    pub n_train: usize,
    /// Test (or validation) images.
    pub n_test: usize,
    /// Shape of the published images.
    pub shape: ImageShape,
    /// Class names by label; empty where numbers serve.
    pub classes: &'static [&'static str],
    /// Number of classes.
    pub n_classes: usize,
    /// Licence or terms of use, as far as its authors state them.
    pub licence: &'static str,
    /// Where the set is described.
    pub citation: &'static str,
}

const CIFAR10: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];
const CIFAR100: [&str; 100] = [
    "apple",
    "aquarium_fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn_mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple_tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak_tree",
    "orange",
    "orchid",
    "otter",
    "palm_tree",
    "pear",
    "pickup_truck",
    "pine_tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet_pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow_tree",
    "wolf",
    "woman",
    "worm",
];

static SETS: [SetInfo; 7] = [
    SetInfo {
        name: "cifar10",
        title: "CIFAR-10",
        repository: "uoft-cs/cifar10",
        files: &[
            RemoteFile {
                part: Part::Train,
                path: "plain_text/train-00000-of-00001.parquet",
            },
            RemoteFile {
                part: Part::Test,
                path: "plain_text/test-00000-of-00001.parquet",
            },
        ],
        label_column: "label",
        n_train: 50_000,
        n_test: 10_000,
        shape: ImageShape::new(32, 32, 3),
        classes: &CIFAR10,
        n_classes: 10,
        licence: "none stated by its authors; research use",
        citation: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    },
    SetInfo {
        name: "cifar100",
        title: "CIFAR-100",
        repository: "uoft-cs/cifar100",
        files: &[
            RemoteFile {
                part: Part::Train,
                path: "cifar100/train-00000-of-00001.parquet",
            },
            RemoteFile {
                part: Part::Test,
                path: "cifar100/test-00000-of-00001.parquet",
            },
        ],
        label_column: "fine_label",
        n_train: 50_000,
        n_test: 10_000,
        shape: ImageShape::new(32, 32, 3),
        classes: &CIFAR100,
        n_classes: 100,
        licence: "none stated by its authors; research use",
        citation: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    },
    SetInfo {
        name: "svhn",
        title: "SVHN (cropped digits)",
        repository: "ufldl-stanford/svhn",
        files: &[
            RemoteFile {
                part: Part::Train,
                path: "cropped_digits/train-00000-of-00001.parquet",
            },
            RemoteFile {
                part: Part::Test,
                path: "cropped_digits/test-00000-of-00001.parquet",
            },
        ],
        label_column: "label",
        n_train: 73_257,
        n_test: 26_032,
        shape: ImageShape::new(32, 32, 3),
        classes: &DIGITS,
        n_classes: 10,
        licence: "non-commercial use only",
        citation: "Netzer et al.: Reading Digits in Natural Images with Unsupervised Feature Learning, 2011",
    },
    SetInfo {
        name: "tiny-imagenet",
        title: "Tiny ImageNet (validation)",
        repository: "zh-plus/tiny-imagenet",
        files: &[RemoteFile {
            part: Part::Test,
            path: "data/valid-00000-of-00001-70d52db3c749a935.parquet",
        }],
        label_column: "label",
        n_train: 0,
        n_test: 10_000,
        shape: ImageShape::new(64, 64, 3),
        classes: &[],
        n_classes: 200,
        licence: "ImageNet's terms: non-commercial research",
        citation: "Le, Yang: Tiny ImageNet Visual Recognition Challenge, 2015",
    },
    SetInfo {
        name: "mnist",
        title: "MNIST",
        repository: "ylecun/mnist",
        files: &[
            RemoteFile {
                part: Part::Train,
                path: "mnist/train-00000-of-00001.parquet",
            },
            RemoteFile {
                part: Part::Test,
                path: "mnist/test-00000-of-00001.parquet",
            },
        ],
        label_column: "label",
        n_train: 60_000,
        n_test: 10_000,
        shape: ImageShape::new(28, 28, 1),
        classes: &DIGITS,
        n_classes: 10,
        licence: "CC BY-SA 3.0 as commonly stated",
        citation: "LeCun et al.: Gradient-Based Learning Applied to Document Recognition, 1998",
    },
    SetInfo {
        name: "fashion-mnist",
        title: "Fashion-MNIST",
        repository: "zalando-datasets/fashion_mnist",
        files: &[
            RemoteFile {
                part: Part::Train,
                path: "fashion_mnist/train-00000-of-00001.parquet",
            },
            RemoteFile {
                part: Part::Test,
                path: "fashion_mnist/test-00000-of-00001.parquet",
            },
        ],
        label_column: "label",
        n_train: 60_000,
        n_test: 10_000,
        shape: ImageShape::new(28, 28, 1),
        classes: &FASHION,
        n_classes: 10,
        licence: "MIT",
        citation: "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
    },
    SetInfo {
        name: "textures",
        title: "Describable Textures (DTD)",
        repository: "tanganke/dtd",
        files: &[RemoteFile {
            part: Part::Test,
            path: "data/test-00000-of-00001.parquet",
        }],
        label_column: "label",
        n_train: 0,
        n_test: 1_880,
        shape: ImageShape::new(32, 32, 3),
        classes: &[],
        n_classes: 47,
        licence: "research use",
        citation: "Cimpoi et al.: Describing Textures in the Wild, 2014",
    },
];

/// All sets, in the order of the table.
#[must_use]
pub fn list() -> &'static [SetInfo] {
    &SETS
}

/// The set of this name.
///
/// # Errors
/// [`crate::Error::UnknownSet`] naming the known ones.
pub fn find(name: &str) -> Result<&'static SetInfo, crate::Error> {
    SETS.iter()
        .find(|set| set.name == name)
        .ok_or_else(|| crate::Error::UnknownSet {
            name: name.to_string(),
            known: SETS.iter().map(|s| s.name).collect::<Vec<_>>().join(", "),
        })
}

impl SetInfo {
    /// The constants this set is normalised with when it is in-distribution.
    #[must_use]
    pub fn constants(&self) -> Constants {
        if self.name == "cifar10" {
            Constants::Ddu
        } else {
            Constants::Measured
        }
    }

    /// Images of a part.
    #[must_use]
    pub fn n_images(&self, part: Part) -> usize {
        match part {
            Part::Train => self.n_train,
            Part::Test => self.n_test,
        }
    }
}

/// What must be said of an incomplete set wherever its numbers stand, such as "10,000 of 26,032 images".
#[must_use]
pub fn partial_note(set: &crate::ImageSet) -> Option<String> {
    let published = find(set.name()).ok()?.n_images(set.part());
    (set.len() < published).then(|| format!("{} of {published} images", set.len()))
}

/// Class names: the registry's where known, else "0", "1", … up to the largest label.
pub(crate) fn classes_or_numbers(name: &str, labels: &[usize]) -> Vec<String> {
    let known = SETS.iter().find(|set| set.name == name);
    match known {
        Some(set) if !set.classes.is_empty() => {
            set.classes.iter().map(ToString::to_string).collect()
        }
        _ => {
            let largest = labels.iter().max().map_or(0, |&l| l + 1);
            let count = known.map_or(largest, |set| set.n_classes);
            (0..count).map(|c| c.to_string()).collect()
        }
    }
}
