//! What readers see, word for word. `UPDATE_EXPECT=1 cargo test -p collapse-report` writes it anew.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::error::Error as _;

use collapse_report::{References, TerminalStyle, claims, render, tables, verdict_label};
use collapse_results::{Results, Table};
use common::synthetic;
use expect_test::{expect, expect_file};

fn table(results: &Results, id: &str) -> Table {
    let all = tables(results, &References::default());
    all.into_iter().find(|table| table.id == id).unwrap()
}

#[test]
fn the_main_table_in_every_form() {
    let main = table(&synthetic(3), "main");
    let plain = TerminalStyle {
        width: None,
        plain: true,
    };
    expect_file!["snapshots/main.md"].assert_eq(&render::markdown(&main));
    expect_file!["snapshots/main.csv"].assert_eq(&render::csv(&main).unwrap());
    expect_file!["snapshots/main.tex"].assert_eq(&render::latex(&main));
    expect_file!["snapshots/main.txt"].assert_eq(&render::terminal(&main, plain));
}

#[test]
fn tables_about_inference() {
    let results = synthetic(3);
    for (id, file) in [
        ("claims", expect_file!["snapshots/claims.md"]),
        ("worst-seed", expect_file!["snapshots/worst-seed.md"]),
        ("calibration", expect_file!["snapshots/calibration.md"]),
        ("detection", expect_file!["snapshots/detection.md"]),
    ] {
        file.assert_eq(&render::markdown(&table(&results, id)));
    }
}

#[test]
fn the_evidence_of_every_claim() {
    let evidence = |seeds| -> String {
        claims(&synthetic(seeds))
            .iter()
            .map(|claim| {
                format!(
                    "{} {} {}\n{}\n\n",
                    claim.id,
                    claim.statement,
                    verdict_label(claim.verdict),
                    claim.evidence
                )
            })
            .collect()
    };
    expect_file!["snapshots/evidence-1.txt"].assert_eq(&evidence(1));
    expect_file!["snapshots/evidence-3.txt"].assert_eq(&evidence(3));
    expect_file!["snapshots/evidence-15.txt"].assert_eq(&evidence(15));
}

#[test]
fn errors_tell_each_cause_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("bad.toml"),
        "kind = \"paper\"\nseeds = 3\n",
    )
    .unwrap();
    let error = References::load(folder.path()).unwrap_err();
    let words = format!("{error}\n  {}", error.source().unwrap());
    let place = folder.path().display().to_string();
    expect![[r#"
        FOLDER/bad.toml is not a reference file; compare it with reference/paper.toml
          missing field `source`
    "#]]
    .assert_eq(&format!("{}\n", words.replace(&place, "FOLDER").trim_end()));
    let error = References::load(&folder.path().join("gone")).unwrap_err();
    let words = format!("{error}\n  {}", error.source().unwrap());
    expect![[r#"
        cannot read FOLDER/gone; check that it exists and is readable
          No such file or directory (os error 2)
    "#]]
    .assert_eq(&format!("{}\n", words.replace(&place, "FOLDER")));
}
