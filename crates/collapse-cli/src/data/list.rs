//! `data list`: what is known of every set.

use std::fmt::Write as _;

use anyhow::Result;
use collapse_data::controls::Control;
use collapse_data::registry::{self, RemoteFile, SetInfo};

use crate::output::print;

pub(super) fn list(json: bool) -> Result<()> {
    let mut text = String::new();
    for set in registry::list() {
        if json {
            text += &serde_json::to_string(set)?;
            text += "\n";
        } else {
            describe(set, &mut text)?;
        }
    }
    if !json {
        text += "Generated from the in-distribution test set, seeded:\n";
        for control in Control::ALL {
            writeln!(text, "  {:<18}{}", control.name(), control.description())?;
        }
    }
    print(text)
}

fn describe(set: &SetInfo, text: &mut String) -> Result<()> {
    writeln!(text, "{}: {}", set.name, set.title)?;
    let sizes = if set.mixed_sizes {
        format!("several sizes, brought to {}", set.shape)
    } else {
        set.shape.to_string()
    };
    writeln!(
        text,
        "  images    {} training, {} test, {sizes}, {} classes",
        set.n_train, set.n_test, set.n_classes
    )?;
    writeln!(
        text,
        "  hub       {} at {}, labels in {}",
        set.repository, set.revision, set.label_column
    )?;
    for file in set.files {
        describe_file(file, text)?;
    }
    writeln!(text, "  authors")?;
    for file in set.originals {
        describe_file(file, text)?;
    }
    writeln!(text, "  licence   {}", set.licence)?;
    writeln!(text, "  citation  {}\n", set.citation)?;
    Ok(())
}

fn describe_file(file: &RemoteFile, text: &mut String) -> Result<()> {
    let parts: Vec<&str> = file.parts.iter().map(|part| part.name()).collect();
    writeln!(text, "    {} ({})", file.path, parts.join(", "))?;
    let length = file
        .bytes
        .map_or_else(String::new, |bytes| format!("{bytes} bytes, "));
    writeln!(
        text,
        "      {length}SHA-256 {}",
        file.sha256.unwrap_or("as the hub announces it")
    )?;
    Ok(())
}
