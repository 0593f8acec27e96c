//! Names of other code bases, turned into the reference's.

/// The name a tensor has in this crate (and in DDU's `state_dict`).
///
/// Removes the prefixes of wrappers (`module.`, `_orig_mod.`, `model.`, `net.`); turns
/// torchvision's `downsample` into `shortcut`, `linear` heads into `fc`, and the parametrised
/// spectral norm's `weight_bar` into `weight_orig`.
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
    let mut rest = name;
    while let Some(shorter) = ["module.", "_orig_mod.", "model.", "net."]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix))
    {
        rest = shorter;
    }
    let name = rest
        .replace(".downsample.", ".shortcut.")
        .replace(".weight_bar", ".weight_orig");
    match name.strip_prefix("linear.") {
        Some(tail) => format!("fc.{tail}"),
        None => name,
    }
}
