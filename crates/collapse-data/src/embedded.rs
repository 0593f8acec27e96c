//! The sample compiled into the crate.

use crate::{Error, ImageSet, pack};

/// Real images for a benchmark of a few minutes, 28×28 grey.
#[derive(Clone, Debug)]
pub struct Quick {
    /// Eight classes of Fashion-MNIST, 400 training images each.
    pub id_train: ImageSet,
    /// The same classes, 100 test images each.
    pub id_test: ImageSet,
    /// Near: Fashion-MNIST's two classes that are never trained on, 200 test images each.
    pub near: ImageSet,
    /// Far: MNIST digits, 80 a class.
    pub far: ImageSet,
}

static BYTES: &[u8] = include_bytes!("../assets/quick.bin");

/// Decodes the embedded sample and checks it against its SHA-256; some 20 ms.
///
/// # Errors
/// Only if the compiled-in file were damaged.
pub fn quick() -> Result<Quick, Error> {
    let sets = pack::read(BYTES.to_vec(), "the embedded sample")?;
    let [id_train, id_test, near, far]: [ImageSet; 4] = sets.try_into().map_err(|_| {
        Error::format(
            "the embedded sample",
            "collapse image container",
            "it must hold four sets",
        )
    })?;
    Ok(Quick {
        id_train,
        id_test,
        near,
        far,
    })
}
