//! The one table of sets.

use serde::Serialize;

use crate::{Constants, ImageShape, Part};

/// Who serves a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The Hugging Face hub, as parquet.
    #[default]
    Hub,
    /// The set's authors (or their mirror), in their own format.
    Authors,
}

/// A file of a set at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RemoteFile {
    /// The parts it holds; an archive may hold both.
    pub parts: &'static [Part],
    /// Path in the repository of the Hugging Face hub, or the address at the authors'.
    pub path: &'static str,
    /// Length in bytes, where known.
    pub bytes: Option<u64>,
    /// Pinned SHA-256, lower-case hex; without one, the hash the hub announces is checked.
    pub sha256: Option<&'static str>,
}

impl RemoteFile {
    /// Name of the file on disk.
    #[must_use]
    pub fn file_name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }
}

/// One line of the table.
///
/// Sources of the hashes: the hub's own (LFS) hashes at the pinned revisions; for the authors' files
/// TensorFlow Datasets' checksums where it has them, else those that several public projects agree on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetInfo {
    /// The name users write.
    pub name: &'static str,
    /// The name papers write.
    pub title: &'static str,
    /// Data-set repository on the Hugging Face hub.
    pub repository: &'static str,
    /// Commit of the repository that the hashes belong to; a branch where nothing is pinned.
    pub revision: &'static str,
    /// Files there.
    pub files: &'static [RemoteFile],
    /// The same set as its authors publish it.
    pub originals: &'static [RemoteFile],
    /// Label column in the parquet files.
    pub label_column: &'static str,
    /// Training images, 0 where the benchmark does not use them.
    pub n_train: usize,
    /// Test (or validation) images.
    pub n_test: usize,
    /// Shape of the published images; where they differ in size, the shape they are brought to unless asked otherwise.
    pub shape: ImageShape,
    /// Whether the published images differ in size.
    pub mixed_sizes: bool,
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
        revision: "0b2714987fa478483af9968de7c934580d0bb9a2",
        files: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "plain_text/train-00000-of-00001.parquet",
                bytes: Some(119_705_255),
                sha256: Some("8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "plain_text/test-00000-of-00001.parquet",
                bytes: Some(23_940_850),
                sha256: Some("841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de"),
            },
        ],
        originals: &[RemoteFile {
            parts: &[Part::Train, Part::Test],
            path: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            bytes: Some(170_052_171),
            sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        }],
        label_column: "label",
        n_train: 50_000,
        n_test: 10_000,
        shape: ImageShape::new(32, 32, 3),
        mixed_sizes: false,
        classes: &CIFAR10,
        n_classes: 10,
        licence: "none stated by its authors; research use",
        citation: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    },
    SetInfo {
        name: "cifar100",
        title: "CIFAR-100",
        repository: "uoft-cs/cifar100",
        revision: "aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        files: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "cifar100/train-00000-of-00001.parquet",
                bytes: Some(118_518_617),
                sha256: Some("694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "cifar100/test-00000-of-00001.parquet",
                bytes: Some(23_772_751),
                sha256: Some("98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68"),
            },
        ],
        originals: &[RemoteFile {
            parts: &[Part::Train, Part::Test],
            path: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            bytes: Some(168_513_733),
            sha256: Some("58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
        }],
        label_column: "fine_label",
        n_train: 50_000,
        n_test: 10_000,
        shape: ImageShape::new(32, 32, 3),
        mixed_sizes: false,
        classes: &CIFAR100,
        n_classes: 100,
        licence: "none stated by its authors; research use",
        citation: "Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    },
    SetInfo {
        name: "svhn",
        title: "SVHN (cropped digits)",
        repository: "ufldl-stanford/svhn",
        revision: "main",
        files: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "cropped_digits/train-00000-of-00001.parquet",
                bytes: None,
                sha256: None,
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "cropped_digits/test-00000-of-00001.parquet",
                bytes: None,
                sha256: None,
            },
        ],
        originals: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
                bytes: Some(182_040_794),
                sha256: Some("435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
                bytes: Some(64_275_384),
                sha256: Some("cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
            },
        ],
        label_column: "label",
        n_train: 73_257,
        n_test: 26_032,
        shape: ImageShape::new(32, 32, 3),
        mixed_sizes: false,
        classes: &DIGITS,
        n_classes: 10,
        licence: "non-commercial use only",
        citation: "Netzer et al.: Reading Digits in Natural Images with Unsupervised Feature Learning, 2011",
    },
    SetInfo {
        name: "tiny-imagenet",
        title: "Tiny ImageNet (validation)",
        repository: "zh-plus/tiny-imagenet",
        revision: "5a77092c28e51558c5586e9c5eb71a7e17a5e43f",
        files: &[RemoteFile {
            parts: &[Part::Test],
            path: "data/valid-00000-of-00001-70d52db3c749a935.parquet",
            bytes: None,
            sha256: None,
        }],
        originals: &[RemoteFile {
            parts: &[Part::Test],
            path: "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            bytes: Some(248_100_043),
            sha256: Some("6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"),
        }],
        label_column: "label",
        n_train: 0,
        n_test: 10_000,
        shape: ImageShape::new(64, 64, 3),
        mixed_sizes: false,
        classes: &[],
        n_classes: 200,
        licence: "ImageNet's terms: non-commercial research",
        citation: "Le, Yang: Tiny ImageNet Visual Recognition Challenge, 2015",
    },
    SetInfo {
        name: "mnist",
        title: "MNIST",
        repository: "ylecun/mnist",
        revision: "77f3279092a1c1579b2250db8eafed0ad422088c",
        files: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "mnist/train-00000-of-00001.parquet",
                bytes: Some(15_561_616),
                sha256: Some("f2c01285a9f89399335b00ee4e8d499dc4e46db5e39c74903ce5618d895eb3bf"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "mnist/test-00000-of-00001.parquet",
                bytes: Some(2_595_890),
                sha256: Some("d49fcf556ce25b002b302e318ce4a11098bbfe5d4499c3f35d7c72297c52374b"),
            },
        ],
        originals: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
                bytes: Some(9_912_422),
                sha256: Some("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            },
            RemoteFile {
                parts: &[Part::Train],
                path: "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
                bytes: Some(28_881),
                sha256: Some("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-images-idx3-ubyte.gz",
                bytes: Some(1_648_877),
                sha256: Some("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
                bytes: Some(4_542),
                sha256: Some("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
            },
        ],
        label_column: "label",
        n_train: 60_000,
        n_test: 10_000,
        shape: ImageShape::new(28, 28, 1),
        mixed_sizes: false,
        classes: &DIGITS,
        n_classes: 10,
        licence: "CC BY-SA 3.0 as commonly stated",
        citation: "LeCun et al.: Gradient-Based Learning Applied to Document Recognition, 1998",
    },
    SetInfo {
        name: "fashion-mnist",
        title: "Fashion-MNIST",
        repository: "zalando-datasets/fashion_mnist",
        revision: "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        files: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "fashion_mnist/train-00000-of-00001.parquet",
                bytes: None,
                sha256: None,
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "fashion_mnist/test-00000-of-00001.parquet",
                bytes: None,
                sha256: None,
            },
        ],
        originals: &[
            RemoteFile {
                parts: &[Part::Train],
                path: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
                bytes: Some(26_421_880),
                sha256: Some("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            },
            RemoteFile {
                parts: &[Part::Train],
                path: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
                bytes: Some(29_515),
                sha256: Some("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
                bytes: Some(4_422_102),
                sha256: Some("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            },
            RemoteFile {
                parts: &[Part::Test],
                path: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
                bytes: Some(5_148),
                sha256: Some("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            },
        ],
        label_column: "label",
        n_train: 60_000,
        n_test: 10_000,
        shape: ImageShape::new(28, 28, 1),
        mixed_sizes: false,
        classes: &FASHION,
        n_classes: 10,
        licence: "MIT",
        citation: "Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
    },
    SetInfo {
        name: "textures",
        title: "Describable Textures (DTD)",
        repository: "tanganke/dtd",
        revision: "main",
        files: &[RemoteFile {
            parts: &[Part::Test],
            path: "data/test-00000-of-00001.parquet",
            bytes: None,
            sha256: None,
        }],
        originals: &[RemoteFile {
            parts: &[Part::Test],
            path: "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            bytes: Some(625_239_812),
            sha256: Some("e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205"),
        }],
        label_column: "label",
        n_train: 0,
        n_test: 1_880,
        shape: ImageShape::new(32, 32, 3),
        mixed_sizes: true,
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

    /// The files that hold a part at a source.
    pub fn files_of(
        &self,
        part: Part,
        source: Source,
    ) -> impl Iterator<Item = &'static RemoteFile> {
        let files = match source {
            Source::Hub => self.files,
            Source::Authors => self.originals,
        };
        files.iter().filter(move |file| file.parts.contains(&part))
    }

    /// The published file with this SHA-256.
    #[must_use]
    pub fn published_file(&self, sha256: &str) -> Option<(Source, &'static RemoteFile)> {
        let of = |source, files: &'static [RemoteFile]| {
            files
                .iter()
                .find(|file| file.sha256 == Some(sha256))
                .map(|file| (source, file))
        };
        of(Source::Hub, self.files).or_else(|| of(Source::Authors, self.originals))
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

/// What must be said of an incomplete set wherever its numbers stand, such as "10000 of 26032 images".
///
/// `left_out` images are missing on purpose and count as present.
#[must_use]
pub fn partial_note(set: &crate::ImageSet, left_out: usize) -> Option<String> {
    let published = find(set.name()).ok()?.n_images(set.part());
    let found = set.len() + left_out;
    (found < published).then(|| format!("{found} of {published} images"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        for set in list() {
            assert!(
                !set.licence.is_empty() && !set.citation.is_empty(),
                "{}",
                set.name
            );
            assert!(set.classes.is_empty() || set.classes.len() == set.n_classes);
            for file in set.files.iter().chain(set.originals) {
                let pinned = file.sha256.is_none_or(|hash| {
                    hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit())
                });
                assert!(pinned && !file.parts.is_empty(), "{}", file.path);
            }
            // What the authors publish never changes, so all of it is pinned.
            assert!(
                set.originals
                    .iter()
                    .all(|f| f.sha256.is_some() && f.bytes.is_some())
            );
            for part in [Part::Train, Part::Test] {
                let there = set.files_of(part, Source::Hub).next().is_some();
                assert_eq!(there, set.n_images(part) > 0, "{}", set.name);
            }
        }
    }
}
