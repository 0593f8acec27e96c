//! Numbers of files that people may read. JSON has no infinities, so there they are text: `"inf"`, `"-inf"`, `"NaN"`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Text(String),
}

pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return values.serialize(serializer);
    }
    let number = |value: &f64| match value.is_finite() {
        true => Number::Finite(*value),
        false => Number::Text(value.to_string()),
    };
    serializer.collect_seq(values.iter().map(number))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<f64>, D::Error> {
    if !deserializer.is_human_readable() {
        return Vec::deserialize(deserializer);
    }
    let value = |number| match number {
        Number::Finite(value) => Ok(value),
        Number::Text(text) => text
            .parse()
            .map_err(|_| D::Error::custom(format!("{text:?} is no number"))),
    };
    let numbers = Vec::<Number>::deserialize(deserializer)?;
    numbers.into_iter().map(value).collect()
}
