//! Identifiers as types: scores, image sets and the role of a set.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// An identifier that is open (any name may be made) and stands as its bare text in JSON. What older files call by another
/// name is read as what it is called now.
macro_rules! open_identifier {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$constant_doc:meta])* $constant:ident = $text:literal;)* }
        $(formerly { $($old:literal => $now:ident;)* })?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            $($(#[$constant_doc])* pub const $constant: Self = Self(Cow::Borrowed($text));)*

            /// The identifier of this name.
            pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
                Self(name.into())
            }

            /// The name as it stands in files.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Ok(match name.as_str() {
                    $($($old => Self::$now,)*)?
                    _ => Self(Cow::Owned(name)),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(Cow::Owned(name.to_owned()))
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(Cow::Owned(name))
            }
        }
    };
}

open_identifier! {
    /// Name of an OoD score. Open: a detector of one's own has a name of its own.
    ScoreId {
        /// Class-wise Gaussians on the features: the score of the method itself (DDU).
        GMM_FEATURES = "gmm_features";
        /// Class-wise Gaussians on raw features z, whatever the head sees.
        GMM_RAW = "gmm_raw";
        /// Class-wise Gaussians on normalised features ẑ, whatever the head sees.
        GMM_UNIT = "gmm_unit";
        /// Class-wise Gaussians on the logits.
        GMM_LOGITS = "gmm_logits";
        /// A Gaussian mixture fitted by EM, without labels.
        GMM_EM = "gmm_em";
        /// Largest softmax probability.
        MAX_SOFTMAX = "max_softmax";
        /// Negative entropy of the softmax.
        SOFTMAX_ENTROPY = "softmax_entropy";
        /// Negative entropy of the mean softmax of several networks.
        ENSEMBLE_ENTROPY = "ensemble_entropy";
        /// Negative mutual information of the class and the network, of several networks.
        ENSEMBLE_MUTUAL_INFORMATION = "ensemble_mutual_information";
        /// Log-sum-exp of the logits.
        ENERGY = "energy";
        /// Largest logit.
        MAX_LOGIT = "max_logit";
        /// Norm of the raw features.
        FEATURE_NORM = "feature_norm";
    }
    formerly {
        "mutual_information" => ENSEMBLE_MUTUAL_INFORMATION;
    }
}

open_identifier! {
    /// Name of an image set, e.g. `svhn`.
    SetId {
        /// The in-distribution test set, where figures of it stand beside those of OoD sets.
        TEST = "test";
    }
}

/// What a set of images is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Training and validation images.
    Train,
    /// In-distribution test images.
    Test,
    /// Out-of-distribution images.
    Ood,
    /// Out-of-distribution images that were generated: shown in tables, but in no mean over sets and no claim.
    Control,
}

impl Role {
    /// The role as it stands in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Ood => "ood",
            Self::Control => "control",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_files_are_read_by_the_names_of_now() {
        let read = |text: &str| serde_json::from_str::<ScoreId>(text).unwrap();
        let now = ScoreId::ENSEMBLE_MUTUAL_INFORMATION;
        assert_eq!(read("\"mutual_information\""), now);
        assert_eq!(read("\"ensemble_mutual_information\""), now);
        assert_eq!(read("\"own\""), ScoreId::new("own"));
        assert_eq!(
            serde_json::to_string(&now).unwrap(),
            "\"ensemble_mutual_information\""
        );
    }
}
