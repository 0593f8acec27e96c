//! Names of other code bases, turned into the reference's.

/// What code bases call the head.
const HEADS: [&str; 4] = ["fc.", "linear.", "classifier.", "head."];

/// The number of models behind an average, beside its weights. Source: PyTorch, `torch.optim.swa_utils`.
pub(super) const AVERAGED: &str = "n_averaged";

/// PyTorch's parametrised spectral norm, and the names of the one before it, which are DDU's.
const PARAMETRISED: [(&str, &str); 3] = [
    ("parametrizations.weight.original", "weight_orig"),
    ("parametrizations.weight.0._u", "weight_u"),
    ("parametrizations.weight.0._v", "weight_v"),
];

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
/// `fc`, and the names of parametrised spectral norms (`weight_bar`, `parametrizations.weight.original`, `.0._u`,
/// `.0._v`) into `weight_orig`, `weight_u` and `weight_v`.
///
/// ```
/// use collapse_models::weights::canonical_name;
///
/// assert_eq!(
///     canonical_name("module.layer2.0.downsample.0.weight"),
///     "layer2.0.shortcut.0.weight"
/// );
/// ```
#[must_use]
pub fn canonical_name(name: &str) -> String {
    let mut name = unwrapped(name)
        .replace(".downsample.", ".shortcut.")
        .replace(".weight_bar", ".weight_orig");
    for (parametrised, own) in PARAMETRISED {
        if let Some(module) = name.strip_suffix(parametrised) {
            name = format!("{module}{own}");
        }
    }
    let tail = HEADS.iter().find_map(|head| name.strip_prefix(head));
    match tail {
        Some(tail) => format!("fc.{tail}"),
        None => name,
    }
}
