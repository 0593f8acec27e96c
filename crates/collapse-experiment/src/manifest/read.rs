//! A manifest's text as its fields, with the line of each and every mistake of form.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use collapse_results::Loss;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{DataSpec, GroupSpec, Manifest, Parallel, Precision, Resources};
use crate::error::Mistake;

/// A field: the index of its group, or `None` for the scale's own and those of `[data]`, and its name.
pub(super) type Key = (Option<usize>, &'static str);

/// Where the fields of a manifest stand in its text.
#[derive(Debug, Default)]
pub(super) struct Places {
    lines: BTreeMap<Key, usize>,
    /// Fields with a mistake of form: what stands in them means nothing.
    failed: BTreeSet<Key>,
}

impl Places {
    pub(super) fn line(&self, key: Key) -> Option<usize> {
        self.lines.get(&key).copied()
    }

    pub(super) fn is_sound(&self, key: Key) -> bool {
        !self.failed.contains(&key)
    }
}

/// The manifest in `text` with a stand-in in each field that has a mistake; `None` where it is not TOML.
pub(super) fn read(text: &str) -> (Option<(Manifest, Places)>, Vec<Mistake>) {
    let mut reader = Reader {
        text,
        places: Places::default(),
        mistakes: Vec::new(),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.refuse(error.span(), error.message(), "correct the TOML");
    }
    if !errors.is_empty() {
        return (None, reader.mistakes);
    }
    let manifest = reader.manifest(document);
    (Some((manifest, reader.places)), reader.mistakes)
}

struct Reader<'t> {
    text: &'t str,
    places: Places,
    mistakes: Vec<Mistake>,
}

/// A table whose fields are taken one by one.
struct Table<'t> {
    fields: DeTable<'t>,
    span: Range<usize>,
    /// What it is called in messages: `the manifest`, `[data]`, `group 2`.
    name: String,
    group: Option<usize>,
}

impl<'t> Reader<'t> {
    fn manifest(&mut self, document: Spanned<DeTable<'t>>) -> Manifest {
        let mut top = Table {
            span: document.span(),
            fields: document.into_inner(),
            name: "the manifest".to_owned(),
            group: None,
        };
        // The top table ends at its first sub-table; what is missing is missing at the top.
        top.span.end = top.span.start;
        let data = self.data_table(&mut top);
        let resources = self.sub_table(&mut top, "resources", "[resources]");
        let groups = self.sub_tables(&mut top);
        let manifest = Manifest {
            scale: self.required(&mut top, "scale", String::new()),
            description: self.required(&mut top, "description", String::new()),
            seeds: self.required(&mut top, "seeds", vec![1]),
            width: self.required(&mut top, "width", 64),
            batch: self.required(&mut top, "batch", 128),
            learning_rate: self.required(&mut top, "learning_rate", 0.1),
            momentum: self.required(&mut top, "momentum", 0.9),
            weight_decay: self.required(&mut top, "weight_decay", 5e-4),
            precision: self.optional(&mut top, "precision", Precision::Auto),
            parallel: self.optional(&mut top, "parallel", Parallel::Threads),
            spectral_norm_coefficient: self.optional(&mut top, "spectral_norm_coefficient", 3.0),
            measure_at: self.optional(&mut top, "measure_at", Vec::new()),
            measure_images: self.optional(&mut top, "measure_images", None),
            resources: resources.map_or_else(Resources::default, |table| self.resources(table)),
            data: data.map_or_else(DataSpec::default, |table| self.data(table)),
            groups: groups.into_iter().map(|table| self.group(table)).collect(),
        };
        self.nothing_left(top);
        manifest
    }

    fn data(&mut self, mut table: Table<'t>) -> DataSpec {
        let data = DataSpec {
            id: self.required(&mut table, "id", String::new()),
            path: self.optional(&mut table, "path", None),
            ood: self.optional(&mut table, "ood", Vec::new()),
            drop_duplicates: self.optional(&mut table, "drop_duplicates", false),
        };
        self.nothing_left(table);
        data
    }

    fn resources(&mut self, mut table: Table<'t>) -> Resources {
        let resources = Resources {
            minutes: self.optional(&mut table, "minutes", None),
            memory_mib: self.optional(&mut table, "memory_mib", None),
            cores: self.optional(&mut table, "cores", None),
            partition: self.optional(&mut table, "partition", None),
            account: self.optional(&mut table, "account", None),
        };
        self.nothing_left(table);
        resources
    }

    fn group(&mut self, mut table: Table<'t>) -> GroupSpec {
        use collapse_results::ScheduleLength::Short;
        let group = GroupSpec {
            id: self.required(&mut table, "id", String::new()),
            net: self.optional(&mut table, "net", "resnet18".to_owned()),
            l2: self.required(&mut table, "l2", false),
            loss: self.optional(&mut table, "loss", Loss::CrossEntropy),
            epochs: self.required(&mut table, "epochs", 1),
            schedule: self.required(&mut table, "schedule", Short),
            evaluate_at: self.optional(&mut table, "evaluate_at", Vec::new()),
            spectral_norm: self.optional(&mut table, "spectral_norm", true),
            modified: self.optional(&mut table, "modified", true),
            ablation: self.optional(&mut table, "ablation", false),
            precision: self.optional(&mut table, "precision", None),
            learning_rate: self.optional(&mut table, "learning_rate", None),
        };
        self.nothing_left(table);
        group
    }

    /// The table `[data]`.
    fn data_table(&mut self, top: &mut Table<'t>) -> Option<Table<'t>> {
        if !top.fields.contains_key("data") {
            self.missing(top, "data");
            return None;
        }
        let table = self.sub_table(top, "data", "[data]");
        if table.is_none() {
            self.places.failed.insert((None, "id"));
        }
        table
    }

    /// The table `name`; `None` where there is none.
    fn sub_table(
        &mut self,
        top: &mut Table<'t>,
        key: &'static str,
        name: &str,
    ) -> Option<Table<'t>> {
        let value = self.take(top, key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(fields) => Some(Table {
                fields,
                span,
                name: name.to_owned(),
                group: None,
            }),
            other => {
                let found = format!("{key} is a {}", other.type_str());
                let remedy = match key {
                    "data" => "write a table [data] with `id`",
                    _ => "write a table [resources]",
                };
                self.refuse(Some(span), &found, remedy);
                None
            }
        }
    }

    /// The tables `[[group]]`.
    fn sub_tables(&mut self, top: &mut Table<'t>) -> Vec<Table<'t>> {
        const REMEDY: &str = "write a table [[group]] for each";
        let Some(value) = self.take(top, "group") else {
            return Vec::new();
        };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.refuse(Some(span), "group is no list of tables", REMEDY);
            self.places.failed.insert((None, "group"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(fields) => {
                    let index = tables.len();
                    self.places
                        .lines
                        .insert((Some(index), ""), self.line(span.start));
                    tables.push(Table {
                        fields,
                        span,
                        name: format!("group {}", index + 1),
                        group: Some(index),
                    });
                }
                _ => self.refuse(Some(span), "group holds something else than tables", REMEDY),
            }
        }
        tables
    }

    fn take(&mut self, table: &mut Table<'t>, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        let (name, value) = table.fields.remove_entry(key)?;
        let line = self.line(name.span().start);
        self.places.lines.insert((table.group, key), line);
        Some(value)
    }

    fn required<T: Deserialize<'t>>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        stand_in: T,
    ) -> T {
        match self.take(table, key) {
            Some(value) => self.value(table, key, value, stand_in),
            None => {
                self.missing(table, key);
                stand_in
            }
        }
    }

    fn optional<T: Deserialize<'t>>(
        &mut self,
        table: &mut Table<'t>,
        key: &'static str,
        default: T,
    ) -> T {
        match self.take(table, key) {
            Some(value) => self.value(table, key, value, default),
            None => default,
        }
    }

    fn value<T: Deserialize<'t>>(
        &mut self,
        table: &Table<'t>,
        key: &'static str,
        value: Spanned<DeValue<'t>>,
        stand_in: T,
    ) -> T {
        let span = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => value,
            Err(error) => {
                let written = self.text.get(span.clone()).unwrap_or_default();
                self.places.failed.insert((table.group, key));
                let at = error.span().unwrap_or(span);
                self.refuse(Some(at), &format!("{key} = {written}"), error.message());
                stand_in
            }
        }
    }

    fn missing(&mut self, table: &Table<'t>, key: &'static str) {
        self.places.failed.insert((table.group, key));
        if key == "data" {
            self.places.failed.insert((None, "id"));
        }
        let field = format!("{} has no `{key}`", table.name);
        self.refuse(Some(table.span.clone()), &field, "add it");
    }

    fn nothing_left(&mut self, table: Table<'t>) {
        for (name, _) in table.fields {
            let field = format!("{} has an unknown field `{}`", table.name, name.as_ref());
            self.refuse(Some(name.span()), &field, "remove it or correct its name");
        }
    }

    fn refuse(&mut self, span: Option<Range<usize>>, field: &str, remedy: &str) {
        self.mistakes.push(Mistake {
            line: span.map(|span| self.line(span.start)),
            field: field.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|&&byte| byte == b'\n').count()
    }
}
