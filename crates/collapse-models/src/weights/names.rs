//! Names of other code bases, turned into the reference's.

/// What code bases call the head.
const HEADS: [&str; 4] = ["fc.", "linear.", "classifier.", "head."];

/// A name without the prefixes of wrappers: `module.`, `_orig_mod.`, `model.`, `net.`.
pub(super) fn unwrapped(name: &str) -> &str {
    let mut rest = name;
    while let Some(shorter) = ["module.", "_orig_mod.", "model.", "net."]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix))
    {
        rest = shorter;
    }
    rest
}

/// The name a tensor of another code base has in DDU's residual networks.
///
/// Removes the prefixes of wrappers (`module.`, `_orig_mod.`, `model.`, `net.`); turns
/// torchvision's `downsample` into `shortcut`, heads called `linear`, `classifier` or `head` into
/// `fc`, and the parametrised spectral norm's `weight_bar` into `weight_orig`.
///
/// ```
/// use collapse_models::weights::canonical_name;
///
/// assert_eq!(
///     canonical_name("module.layer2.0.downsample.0.weight"),
///     "layer2.0.shortcut.0.weight"
/// );
/// ```
pub fn canonical_name(name: &str) -> String {
    let name = unwrapped(name)
        .replace(".downsample.", ".shortcut.")
        .replace(".weight_bar", ".weight_orig");
    let tail = HEADS.iter().find_map(|head| name.strip_prefix(head));
    match tail {
        Some(tail) => format!("fc.{tail}"),
        None => name,
    }
}
